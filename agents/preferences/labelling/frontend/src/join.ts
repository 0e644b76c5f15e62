// The way in: the link's fragment holds the token. It leaves the address bar before anything else happens.
import { Api, ApiError } from "./api.js";
import { element } from "./dom.js";

const api = new Api();
const title = element("title");
const text = element("text");
const again = element("again");
let token = "";

function start(): void {
  token = decodeURIComponent(location.hash.slice(1));
  history.replaceState(null, "", location.pathname);
  void enter();
}

async function enter(): Promise<void> {
  again.hidden = true;
  if (token === "") {
    say("This link is not complete", "Copy the whole link that the session's owner gave you, up to its last letter.");
    return;
  }
  try {
    await api.join(token);
    new BroadcastChannel("surefoot:joined").postMessage("");
    location.replace("/");
  } catch (thrown) {
    const error = thrown instanceof ApiError ? thrown : new ApiError("away", String(thrown));
    again.hidden = error.trouble !== "away";
    say(error.trouble === "away" ? "The session cannot be reached" : "This link does not let you in", error.message);
  }
}

function say(what: string, more: string): void {
  title.textContent = what;
  text.textContent = more;
}

again.addEventListener("click", () => void enter());
window.addEventListener("hashchange", () => {
  if (location.hash !== "") start();
});
start();
