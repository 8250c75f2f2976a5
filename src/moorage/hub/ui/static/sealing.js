// An account's password, sealed here to its gateway's key and the recovery key, and sent.
import { ask, Refused } from "./ask.js";
import { credentialContext, seal } from "./seal.js";

export function speaker(said) {
  const say = (text, bad = false) => {
    said.className = `box ${bad ? "bad" : "busy"}`;
    said.textContent = text;
    said.hidden = false;
  };
  const explain = (error) => {
    const faults = error instanceof Refused ? error.faults : [];
    const parts = faults.map((fault) => `${fault.path}: ${fault.message}`);
    say([error.message, ...parts].join(" · "), true);
  };
  return { say, explain };
}

async function store(secret, csrf) {
  try {
    await ask("POST", "secrets", secret, csrf);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    await ask("PUT", `secrets/${encodeURIComponent(secret.metadata.name)}/spec`, secret.spec, csrf);
  }
}

// Returns what is to be done once the account itself is stored: the gateway's key is then known.
export async function sealPassword(name, spec, password, { csrf, installation }) {
  const gateway = await ask("GET", `gateways/${encodeURIComponent(spec.gateway)}`);
  if (!gateway.status.sealingKey) throw new Error(`gateway ${spec.gateway} has not enrolled yet`);
  const pin = `gateway:${spec.gateway}`, known = localStorage.getItem(pin);
  if (known !== null && known !== gateway.status.fingerprint) {
    throw new Error(`gateway ${spec.gateway} shows another fingerprint than before, ${gateway.status.fingerprint}: compare it beside vCenter`);
  }
  const { recoveryKey } = await ask("GET", "installation");
  const recipients = [gateway.status.sealingKey, ...(recoveryKey ? [recoveryKey] : [])];
  const sealed = await seal(password, recipients, await credentialContext(installation, name, spec));
  await store({ kind: "Secret", metadata: { name: spec.secret }, spec: { gateway: spec.gateway, sealed } }, csrf);
  return () => localStorage.setItem(pin, gateway.status.fingerprint);
}
