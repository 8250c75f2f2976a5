// A kubeconfig whose private key is made here: the gateway signs a certificate for it.
import { ask, save } from "./ask.js";
import { certificateRequest } from "./seal.js";

const TRIES = 100, PAUSE_MS = 600;
const button = document.getElementById("kubeconfig");
const said = document.getElementById("kubeconfig-said");

async function make({ project, cluster, user, csrf }) {
  const { key, csr } = await certificateRequest(user);
  const here = `projects/${encodeURIComponent(project)}/operations`;
  const spec = { verb: "kubeconfig", subjectKind: "Cluster", subjectName: cluster, arguments: { csr } };
  let operation = await ask("POST", here, { kind: "Operation", metadata: {}, spec }, csrf);
  for (let n = 0; n < TRIES && !operation.status.completedAt; n += 1) {
    await new Promise((resolve) => { setTimeout(resolve, PAUSE_MS); });
    operation = await ask("GET", `${here}/${operation.metadata.name}`);
  }
  if (!operation.status.completedAt) throw new Error("the gateway does not answer: is it connected?");
  if (operation.status.failed) throw new Error(operation.status.message);
  const { certificate, ca, server } = operation.status.result;
  const config = {
    apiVersion: "v1", kind: "Config", "current-context": cluster,
    clusters: [{ name: cluster, cluster: { "certificate-authority-data": btoa(ca), server } }],
    contexts: [{ name: cluster, context: { cluster, user: `${user}@${cluster}` } }],
    users: [{ name: `${user}@${cluster}`, user: { "client-certificate-data": btoa(certificate), "client-key-data": btoa(key) } }],
  };
  save(`${cluster}.kubeconfig`, `${JSON.stringify(config, null, 2)}\n`);
}

button?.addEventListener("click", async () => {
  button.disabled = true;
  said.textContent = "The gateway is asked to sign a certificate…";
  try {
    await make(button.dataset);
    said.textContent = "Downloaded. Its private key was made here and is nowhere else; it holds for eight hours.";
  } catch (error) {
    said.textContent = `It was not made: ${error.message}`;
  }
  button.disabled = false;
});
