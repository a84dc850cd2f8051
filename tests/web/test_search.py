"""Words that people type into the editor's node search find this pack's nodes.

The search ranks nodes whose name has the word above those with an alias, so ours come first where no other name has it.
"""

import pytest

_FOUND = """(words) => {
    const stores = document.querySelector("#vue-app").__vue_app__.config.globalProperties.$pinia._s;
    return stores.get("nodeDef").nodeSearchService.searchNode(words, []).map((node) => node.name);
}"""


# (what is typed, a node of ours, its place among all that are found)
@pytest.mark.parametrize(
    "words, wanted, place",
    [
        ("exp_res_sde", "RESSDE", 1),
        ("res4lyf", "RESSDE", 1),
        ("res_2m", "RESMultistep", 1),
        ("compare samplers", "RESLabMeasure", 1),
        ("sampler comparison", "RESLabMeasure", 1),
        ("preview sigmas", "RESSigmasPlot", 1),
        ("noise injection", "RESSDE", 1),
        ("inversion", "RESLogSNRSchedule", 5),
        ("cfg++", "RESMultistep", 3),
        ("sigmas", "RESSigmasPlot", 5),
    ],
)
def test_it_finds_ours(editor, words, wanted, place):
    result = editor.js(_FOUND, words)
    assert wanted in result[:place]
