// The labelling page: keys, buttons and touches become actions of the session.
import { Api, ApiError } from "./api.js";
import { element } from "./dom.js";
import { Events } from "./events.js";
import { ACTIONS, actionOf, countsWhenHeld } from "./keys.js";
import type { Action } from "./keys.js";
import { Media } from "./media.js";
import { Outbox } from "./outbox.js";
import { Panels } from "./panels.js";
import { Session } from "./session.js";
import { browserShelf } from "./shelf.js";
import { Stage } from "./stage.js";
import { Tabs } from "./tabs.js";
import { uuid4 } from "./uuid.js";
import { Wishes } from "./wishes.js";

const root = element("session");
const help = element<HTMLDialogElement>("help");
const person = `${root.dataset["study"] ?? ""}:${root.dataset["person"] ?? ""}`;
const shelf = browserShelf();
const api = new Api();
const media = new Media((address) => api.media(address));
const panels = new Panels((mode) => (mode === "offline" && session !== null ? session.hurry() : void start()));
const stage = new Stage(media, new Wishes(shelf), () => session?.askAnew());
const narrow = window.matchMedia("(max-width: 640px)");
const events = new Events({
  stats: (stats) => session?.news(stats),
  away: () => session?.trouble("events", true),
  ended: (message) => session?.expire(message),
});
const tabs = new Tabs(`surefoot:${person}`, uuid4(), () => {
  events.close();
  session?.leave();
});
let session: Session | null = null;

async function start(): Promise<void> {
  try {
    session ??= new Session({
      api,
      task: await api.task(),
      outbox: new Outbox(shelf, `surefoot:${person}:outbox`),
      media,
      stage,
      panels,
      tabs,
      stacked: () => narrow.matches,
    });
  } catch (thrown) {
    const error = thrown instanceof ApiError ? thrown : new ApiError("away", String(thrown));
    panels.show({ mode: error.trouble === "expired" ? "expired" : "offline", text: error.message });
    window.setTimeout(() => void start(), 3000);
    return;
  }
  events.open();
  await session.start();
}

function perform(action: Action, pressed: number): void {
  if (action.kind === "help") toggleHelp();
  else if (action.kind === "choose") session?.choose(action.choice, pressed);
  else if (action.kind === "undo") void session?.undo();
  else stage.act(action);
}

function toggleHelp(): void {
  if (help.open) {
    help.close();
    return;
  }
  help.showModal();
  stage.cover(true);
}

function flash(button: Element): void {
  button.classList.add("pressed");
  setTimeout(() => button.classList.remove("pressed"), 150);
}

window.addEventListener("keydown", (event) => {
  const focused = document.activeElement;
  if (focused instanceof HTMLVideoElement) return; // its own controls have keys too
  const onControl = focused instanceof HTMLElement && focused.matches("button, a");
  // The focused button's own keys; held down they must not answer one pair after the other.
  if (onControl && (event.key === " " || event.key === "Enter")) {
    if (event.repeat) event.preventDefault();
    return;
  }
  const action = actionOf(event);
  if (action === undefined || (help.open && action.kind !== "help")) return;
  event.preventDefault();
  if (event.repeat && !countsWhenHeld(action)) return;
  for (const button of document.querySelectorAll(`#stage [aria-keyshortcuts='${event.key}' i]`)) flash(button);
  perform(action, event.timeStamp);
});

for (const button of document.querySelectorAll<HTMLElement>("[data-action]")) {
  // A click keeps the focus where it was: otherwise the next Space would press the same button again.
  button.addEventListener("pointerdown", (event) => event.preventDefault());
  button.addEventListener("mousedown", (event) => event.preventDefault());
  button.addEventListener("click", (event) => {
    const action = ACTIONS[button.dataset["action"] ?? ""];
    if (action !== undefined) perform(action, event.timeStamp);
  });
}

help.addEventListener("close", () => stage.cover(false));
help.addEventListener("click", (event) => {
  if (event.target === help) help.close(); // beside the text
});
element("gone-again").addEventListener("click", () => stage.tryAgain());
window.addEventListener("online", () => session?.hurry());
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) session?.comeBack();
});
window.addEventListener("pageshow", (event) => {
  if (event.persisted) void start(); // back from the history: another tab may have gone on meanwhile
});
// Another link was opened in this browser: its cookie is not of the person whose page this is.
new BroadcastChannel("surefoot:joined").onmessage = () => location.reload();

void start();
