// The REST API from a page's script, as the person who is logged in.

export class Refused extends Error {
  constructor(problem) {
    super(problem.detail ?? problem.title);
    this.faults = problem.faults ?? [];
  }
}

export async function ask(method, path, body, csrf) {
  const headers = { "X-CSRF-Token": csrf };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(`/v1/${path}`, { method, headers, body: body && JSON.stringify(body) });
  const text = await answer.text();
  const document = text ? JSON.parse(text) : {};
  if (!answer.ok) throw new Refused(document);
  return document;
}

export function save(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}
