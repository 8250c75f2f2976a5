// A new account: its password is sealed here, to the gateway's key and the recovery key.
import { ask, Refused, save } from "./ask.js";
import { credentialContext, recoveryPair, seal } from "./seal.js";

const form = document.getElementById("new-account");
const said = document.getElementById("account-said");
const { csrf, installation } = form.dataset;

function say(text, bad = false) {
  said.className = `box ${bad ? "bad" : "busy"}`;
  said.textContent = text;
  said.hidden = false;
}

function explain(error) {
  const faults = error instanceof Refused ? error.faults : [];
  const parts = faults.map((fault) => `${fault.path}: ${fault.message}`);
  say([error.message, ...parts].join(" · "), true);
}

async function store(secret) {
  try {
    await ask("POST", "secrets", secret, csrf);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    await ask("PUT", `secrets/${secret.metadata.name}/spec`, secret.spec, csrf);
  }
}

async function add(fields) {
  const gateway = await ask("GET", `gateways/${encodeURIComponent(fields.gateway)}`);
  if (!gateway.status.sealingKey) throw new Error(`gateway ${fields.gateway} has not enrolled yet`);
  const pin = `gateway:${fields.gateway}`, known = localStorage.getItem(pin);
  if (known !== null && known !== gateway.status.fingerprint) {
    throw new Error(`gateway ${fields.gateway} shows another fingerprint than before, ${gateway.status.fingerprint}: compare it beside vCenter`);
  }
  const trust = { insecure: fields.trust === "insecure" };
  if (fields.trust === "ca") trust.caBundle = fields.caBundle;
  if (fields.trust === "sha256") trust.sha256 = fields.sha256;
  const { name, server, username } = fields;
  const spec = { gateway: fields.gateway, server, username, trust, secret: name };
  const document = { kind: "CloudAccount", metadata: { name }, spec };
  // The hub says how it would store this: the password is bound to exactly that.
  const shown = await ask("POST", "accounts?dryRun=true", document, csrf);
  const { recoveryKey } = await ask("GET", "installation");
  const recipients = [gateway.status.sealingKey, ...(recoveryKey ? [recoveryKey] : [])];
  const context = await credentialContext(installation, name, shown.spec);
  if (context.server !== server.toLowerCase() || context.username !== username) throw new Error("the hub changed what was asked");
  const sealed = await seal(fields.password, recipients, context);
  await store({ kind: "Secret", metadata: { name }, spec: { gateway: fields.gateway, sealed } });
  await ask("POST", "accounts", document, csrf);
  localStorage.setItem(pin, gateway.status.fingerprint);
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
