// Free text, streamed; a conversation where the model has a chat template.
import { $, make, seconds } from "./dom.js";
import { call, cancel, enable, state, work } from "./engine.js";
import { sampling } from "./sampling.js";

const form = $("write");
let chatting = false;
/** Which loading of a model, and which adapter, the tab is about. */
let talked;

/** A chat or a text to go on with. */
function mode(chat) {
  chatting = chat;
  $("mode-chat").setAttribute("aria-pressed", String(chat));
  $("mode-text").setAttribute("aria-pressed", String(!chat));
  $("write-title").textContent = chat ? "Chat" : "Text";
  $("write-ask").textContent = chat ? "Your message" : "Free text";
  $("write-label").textContent = chat ? "What do you want to say?" : "Text to go on from";
  $("go").textContent = chat ? "Send" : "Write";
  $("text").hidden = chat;
  $("bubbles").hidden = !chat;
  $("fresh").hidden = !chat;
}

/** The kind of rows that an adapter was trained on, where that is known. */
export const rowsOf = (adapter) => state.texts.get(adapter)?.rows;

/** Whether a chat suits the model and its adapter, and why. */
function suits({ name, chat, adapter }) {
  const rows = rowsOf(adapter);
  if (!chat) return [false, `${name} goes on with texts; it was not made for conversations.`];
  if (rows === "messages") return [true, `“${adapter}” was trained on conversations.`];
  if (rows) return [false, `“${adapter}” was trained on texts, not on conversations.`];
  return [true, `${name} was made for conversations.`];
}

/** What the model can do; another model or adapter begins anew. */
export function showWrite() {
  const model = state.model;
  const now = `${state.loads} ${model?.adapter ?? ""}`;
  if (!model || talked === now) return;
  const another = talked?.split(" ")[0] !== String(state.loads);
  talked = now;
  const [chat, why] = suits(model);
  $("modes").hidden = !model.chat;
  $("write-about").textContent = why;
  mode(chat);
  if (!another) return;
  $("bubbles").replaceChildren();
  $("text").replaceChildren();
  $("text-facts").textContent = "";
  form.elements.prompt.value = chat ? "Hello! What can you do?" : "The diamond is";
}
$("mode-chat").onclick = () => mode(true);
$("mode-text").onclick = () => mode(false);

const bubble = (who, text) => {
  const made = make("p", { class: `bubble ${who}` }, make("span", { class: "who" }, who === "user" ? "You: " : "Model: "), text);
  $("bubbles").append(made);
  $("bubbles").scrollTop = $("bubbles").scrollHeight;
  return made;
};

function facts({ tokens, promptTokens, prefillSeconds, decodeTokensPerSecond: speed, finish, turnsDropped, stopped }) {
  const end = stopped ? "Stop" : { eos: chatting ? "the model" : "the end of the text", stop: "a stop word", length: "the number of tokens" }[finish] ?? "Stop";
  const dropped = turnsDropped > 0 ? ` The oldest ${turnsDropped === 1 ? "turn was" : `${turnsDropped} turns were`} forgotten, to have room.` : "";
  const nothing = tokens.length === 0 ? "Nothing came: the model ended at once. " : "";
  return `${nothing}${tokens.length} tokens${speed ? `, ${speed.toFixed(1)} tokens/s` : ""}; prompt of ${promptTokens} tokens in ` +
    `${seconds(prefillSeconds)}, ${(promptTokens / prefillSeconds).toFixed(0)} a second; ended by ${end}.${dropped}`;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const options = { ...sampling(form), maxTokens: Number(form.elements.maxTokens.value) };
  const prompt = form.elements.prompt.value;
  let place = $("text");
  $("text-facts").textContent = "";
  if (chatting) {
    bubble("user", prompt);
    place = bubble("model", "");
    form.elements.prompt.value = "";
  } else place.replaceChildren(make("span", { class: "given" }, prompt));
  $("stop").disabled = false;
  const onEvent = ({ text }) => {
    if (text === undefined) return;
    place.append(text);
    $("bubbles").scrollTop = $("bubbles").scrollHeight;
  };
  const asked = chatting ? () => call("chat", { message: prompt, options }, { onEvent }) : () => call("generate", { prompt, options }, { onEvent });
  const summary = await work(chatting ? "Answering…" : "Writing…", asked, $("text-facts"));
  $("stop").disabled = true;
  if (summary) $("text-facts").textContent = facts(summary);
  else if (chatting) form.elements.prompt.value ||= prompt;
});
$("stop").onclick = cancel;
$("fresh").onclick = async () => {
  await work("Forgetting…", () => call("resetChat"));
  $("bubbles").replaceChildren();
  $("text-facts").textContent = "";
  enable(!state.busy);
};
