// Signing in at the review port. The token comes back as a cookie that scripts cannot read.

import { ask } from "./connection.js";
import { byId, say } from "./dom.js";

const form = byId("login");
const send = byId("sign-in");

// Until now the form could only have been sent without this script, which takes no login.
byId("fields").disabled = false;
byId("password").focus();

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = { username: byId("username").value, password: byId("password").value };
  say(byId("login-error"), "");
  if (!body.username || !body.password) {
    say(byId("login-error"), "Name and password are both needed.");
    (body.username ? byId("password") : byId("username")).focus();
    return;
  }
  send.setAttribute("aria-disabled", "true");
  try {
    await ask("auth/login", { method: "POST", body });
    byId("password").value = "";
    location.replace("./");
  } catch (error) {
    say(byId("login-error"), words(error));
    byId("password").select();
    byId("password").focus();
  }
  send.removeAttribute("aria-disabled");
});

function words(error) {
  if (error.status === 401) return "This name and password do not belong together.";
  if (error.status === 429) return "Too many tries. Wait a minute, then try again.";
  return error.message;
}
