"""Turns a workflow, as the editor saves it, into a prompt, as the server takes it."""

# Widgets that the editor adds to an input and saves, but that the server does not know.
_CONTROL_VALUES = {"fixed", "increment", "decrement", "randomize"}
_MUTED, _BYPASSED = 2, 4


def to_prompt(workflow: dict) -> dict:
    """The API-format prompt of a workflow without subgraphs.

    It relies on the editor's format: a node has its inputs in order with the names of widgets, and `widgets_values` has their
    values in the same order, except for choices and their options.

    Raises:
        ValueError: a node is muted or bypassed, or its values do not fit its inputs.
    """
    links = {link[0]: (str(link[1]), link[2]) for link in workflow["links"]}
    prompt = {}
    for node in workflow["nodes"]:
        if node["type"] in ("Note", "MarkdownNote"):
            continue
        if node.get("mode") in (_MUTED, _BYPASSED):
            raise ValueError(f"node {node['id']} ({node['type']}) is muted or bypassed; examples must run unchanged.")
        inputs = _widget_values(node)
        for slot in node.get("inputs", []):
            if slot.get("link") is not None:
                inputs[slot["name"]] = list(links[slot["link"]])
        prompt[str(node["id"])] = {"class_type": node["type"], "inputs": inputs, "_meta": {"title": node.get("title", "")}}
    return prompt


def _choices_first(names: list[str]) -> list[str]:
    """Names of inputs in the order of their widgets: the editor may list a choice behind its options, "a.b" before "a"."""
    roots = [name.partition(".")[0] for name in names]
    return sorted(names, key=lambda name: (roots.index(name.partition(".")[0]), "." in name))


def _widget_values(node: dict) -> dict:
    names = _choices_first([slot["widget"]["name"] for slot in node.get("inputs", []) if "widget" in slot])
    values = list(node.get("widgets_values") or [])
    result = {}
    for name in names:
        if not values:
            raise ValueError(f"node {node['id']} ({node['type']}) has no saved value for {name}.")
        result[name] = values.pop(0)
        if name in ("seed", "noise_seed") and values and values[0] in _CONTROL_VALUES:
            values.pop(0)
    if values:
        raise ValueError(f"node {node['id']} ({node['type']}) has {len(values)} saved values too many: {values}.")
    return result
