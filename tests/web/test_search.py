"""Words that people type into the editor's node search find this pack's nodes first.

The search ranks names that start with the words before names that contain them. An alias finds a node, but ranks last.
"""

import pytest

_FOUND = """(words) => {
    const stores = document.querySelector("#vue-app").__vue_app__.config.globalProperties.$pinia._s;
    return stores.get("nodeDef").nodeSearchService.searchNode(words, []).map((node) => node.display_name);
}"""


@pytest.mark.parametrize(
    "words, title",
    [
        ("exp_res", "RES sampler (exp_res)"),
        ("exp_res_sde", "RES SDE"),
        ("res4lyf", "RES SDE"),
        ("res_2m", "RES Multistep"),
        ("compare samplers", "RES Lab: Measure"),
        ("sampler comparison", "RES Lab: Measure"),
        ("preview sigmas", "Sigmas Plot (RES)"),
        ("sigmas", "Sigmas Plot (RES)"),
        ("noise injection", "RES SDE"),
        ("inversion", "Inversion (RES unsample)"),
        ("unsample", "Inversion (RES unsample)"),
        ("cfg++", "CFG++ sampler (RES)"),
    ],
)
def test_it_finds_ours_first(editor, words, title):
    editor.until(lambda: editor.js(_FOUND, words)[:1] == [title], f"{title} as the first of {words}")
