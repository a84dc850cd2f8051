// Requests the grid of a node's widgets from the server, one request at a time; of later requests only the last is sent.
import { api } from "../../scripts/api.js";

// receive(answer) gets what nodes/schedule_route.py describes, or { error: a sentence }
export function gridRequester(receive) {
    let busy = false;
    let next = null;

    async function send() {
        busy = true;
        while (next) {
            const body = next;
            next = null;
            const answer = await ask(body);
            if (!next) receive(answer);
        }
        busy = false;
    }

    return (body) => {
        next = body;
        if (!busy) send();
    };
}

async function ask(body) {
    try {
        const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
        const response = await api.fetchApi("/comfyui_res/grid", options);
        return await response.json();
    } catch (error) {
        return { error: String(error.message ?? error) };
    }
}
