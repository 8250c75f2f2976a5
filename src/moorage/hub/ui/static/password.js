// Another password for an account, sealed here.
import { ask } from "./ask.js";
import { sealPassword, speaker } from "./sealing.js";

const form = document.getElementById("new-password");
const { say, explain } = speaker(document.getElementById("password-said"));

form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { name, server, username } = form.dataset, field = form.elements.password;
  say("The password is sealed here…");
  try {
    const account = await ask("GET", `accounts/${encodeURIComponent(name)}`);
    // It goes to the vCenter that this page shows, and to no other.
    if (account.spec.server !== server || account.spec.username !== username) {
      throw new Error("the account has changed since this page was shown: look again");
    }
    const pin = await sealPassword(name, account.spec, field.value, form.dataset);
    pin();
    field.value = "";
    say("Sealed and stored: the gateway tries it now.");
  } catch (error) {
    explain(error);
  }
});
