// A page: load with progress, write as it comes, stop.
import init, { loadModel } from "../pkg/pagelm.js";

const [progress, state, form, prompt, go, stop, text] =
  ["progress", "state", "form", "prompt", "go", "stop", "text"].map((id) => document.getElementById(id));
const address = new URLSearchParams(location.search).get("model") ?? "../../../examples/models/gpt2-basic-lexicon.gguf";

await init();
const model = await loadModel(address, {
  onProgress: ({ loaded, total }) => ((progress.value = loaded), (progress.max = total ?? loaded)),
}).catch((error) => {
  state.textContent = `${error.code}: ${error.message}`;
  throw error;
});
state.textContent = `${model.info.name}, ${model.info.parameters.toLocaleString()} weights`;
go.disabled = false;

form.onsubmit = async (event) => {
  event.preventDefault();
  const control = new AbortController();
  stop.onclick = () => control.abort();
  [go.disabled, stop.disabled, text.textContent] = [true, false, prompt.value];
  const ids = [];
  try {
    const options = { maxTokens: 64, signal: control.signal, onToken: (id) => ids.push(id) };
    for await (const piece of model.generate(prompt.value, options)) text.append(piece);
  } catch (error) {
    if (error.name !== "AbortError") state.textContent = `${error.code}: ${error.message}`;
  }
  [go.disabled, stop.disabled] = [false, true];
  text.dataset.ids = ids.join(" ");
};
