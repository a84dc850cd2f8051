"""RES Lab: Measure says its verdict in the node, in bold."""


def test_the_verdict_is_in_the_node(editor):
    model, latent = editor.add("RESToyModel", 40, 60), editor.add("RESToyLatent", 40, 300, batch_size=4)
    inputs = {"samplers": "exp_res, euler", "schedulers": "karras", "budgets": "6, 10", "seed": 11}
    lab = editor.add("RESLabMeasure", 400, 60, {"model": (model, 0), "latent_image": (latent, 0)}, **inputs)
    sentence, *remarks = editor.run()[lab]["res_verdict"]
    verdict = editor.page.locator(".res-verdict").first
    editor.until(lambda: verdict.locator("b").count() and verdict.locator("b").inner_text() == sentence, "the verdict")
    assert int(verdict.locator("b").evaluate("(element) => getComputedStyle(element).fontWeight")) >= 600
    assert [line.strip() for line in verdict.inner_text().splitlines() if line.strip()] == [sentence, *remarks]
    editor.screenshot("verdict")
    assert "res_verdict" not in str(editor.saved()), "it is no part of the workflow"
