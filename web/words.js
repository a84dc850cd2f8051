// The words that pictures show, in the user's language: "resPicture" of locales/<language>/main.json.
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

let words = {};
let loading = null;

// Loaded once, for all callers.
export function loadWords() {
    loading ??= fetchWords();
    return loading;
}

async function fetchWords() {
    try {
        const languages = await (await api.fetchApi("/i18n")).json();
        const chosen = app.extensionManager?.setting?.get("Comfy.Locale");
        words = { ...languages.en?.resPicture, ...languages[chosen]?.resPicture };
    } catch {
        words = {}; // the keys are shown, which are English
    }
}

// word(key, { steps: 4 }): the text under a key, its {placeholders} filled in
export function word(key, values = {}) {
    return (words[key] ?? key).replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
}
