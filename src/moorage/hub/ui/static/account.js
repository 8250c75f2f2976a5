// A new account: its password is sealed here.
import { ask, save } from "./ask.js";
import { recoveryPair } from "./seal.js";
import { sealPassword, speaker } from "./sealing.js";

const form = document.getElementById("new-account");
const { say, explain } = speaker(document.getElementById("account-said"));
const { csrf } = form.dataset;

async function add(fields) {
  const trust = { insecure: fields.trust === "insecure" };
  if (fields.trust === "ca") trust.caBundle = fields.caBundle;
  if (fields.trust === "sha256") trust.sha256 = fields.sha256;
  const { name, gateway, server, username } = fields;
  const spec = { gateway, server, username, trust, secret: name };
  const document = { kind: "CloudAccount", metadata: { name }, spec };
  // The hub says how it would store this: the password is bound to exactly that.
  const shown = await ask("POST", "accounts?dryRun=true", document, csrf);
  if (shown.spec.server !== server.toLowerCase() || shown.spec.username !== username || shown.spec.gateway !== gateway) {
    throw new Error("the hub changed what was asked");
  }
  const pin = await sealPassword(name, { ...shown.spec, secret: name }, fields.password, form.dataset);
  await ask("POST", "accounts", document, csrf);
  pin();
  return name;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const fields = Object.fromEntries(new FormData(form));
  for (const key of ["name", "server", "username"]) fields[key] = fields[key].trim();
  say("The password is sealed here…");
  try {
    location.href = form.dataset.then + encodeURIComponent(await add(fields));
  } catch (error) {
    explain(error);
  }
});

document.getElementById("make-recovery")?.addEventListener("click", async (event) => {
  const pair = await recoveryPair();
  save("moorage-recovery-key.pem", pair.secret);
  try {
    await ask("PUT", "installation/recovery-key", { publicKey: pair.open }, csrf);
    event.target.disabled = true;
    event.target.textContent = "Made: keep the downloaded file offline";
  } catch (error) {
    explain(error);
  }
});
