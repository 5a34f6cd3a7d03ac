// Questions to the server. An error is shown as the server says it, in the one place for errors.

const error = document.getElementById("error");

export function complain(sentence) {
  error.textContent = sentence || "";
  error.hidden = !sentence;
}

export async function ask(path, value = {}, quiet = false) {
  let answer, data;
  try {
    answer = await fetch(`/api/${path}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(value),
    });
    data = await answer.json();
  } catch {
    complain("The program does not answer any more. Start it again, and reload this page.");
    return null;
  }
  if (!answer.ok) {
    if (!quiet) complain(data.error);
    return null;
  }
  return data;
}

// What the newest of a row of questions was answered; earlier ones that are still open are dropped.
export function newest(question) {
  let open = false, waiting = null;
  return async function again(...args) {
    if (open) {
      waiting = args;
      return;
    }
    open = true;
    try {
      await question(...args);
    } finally {
      open = false;
    }
    if (waiting) {
      const next = waiting;
      waiting = null;
      again(...next);
    }
  };
}

export const $ = (id) => document.getElementById(id);

export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "class") made.className = value;
    else if (key === "data") Object.assign(made.dataset, value);
    else if (key.includes("-")) made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children);
  return made;
}

// White space that can be seen.
export const visible = (text) => text.replaceAll(" ", "␣").replaceAll("\n", "↵").replaceAll("\t", "⇥");
export const digits = (n) => Math.round(n).toLocaleString("en-US");
