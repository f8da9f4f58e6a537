// How <pagelm-text> looks. A page changes it by the variables, or by `::part`.
const TEXT = `
:host {
  --accent: var(--pagelm-accent, #2452c7);
  --ink: var(--pagelm-ink, light-dark(#1c1b19, #eceae5));
  --muted: var(--pagelm-muted, light-dark(#6a665e, #a5a198));
  --paper: var(--pagelm-paper, light-dark(#fff, #1b1b1d));
  --line: var(--pagelm-line, light-dark(#cfcac0, #4a4a4e));
  --alert: var(--pagelm-alert, light-dark(#a4161a, #ff9c9c));
  --radius: var(--pagelm-radius, 0.4rem);
  display: block;
  color: var(--ink);
  font: var(--pagelm-font, 1rem/1.55 system-ui, sans-serif);
}
:host([hidden]), [hidden] { display: none !important; }
* { box-sizing: border-box; }
[part=label] { display: block; font-weight: 600; margin-block-end: 0.3em; }
textarea, input {
  font: inherit; color: inherit; background: var(--paper); border: 1px solid var(--line);
  border-radius: var(--radius); padding: 0.5em 0.65em; max-inline-size: 100%;
}
textarea { display: block; inline-size: 100%; resize: vertical; }
button {
  font: inherit; font-weight: 600; min-block-size: 2.75rem; min-inline-size: 7.5rem; padding: 0.4em 1.2em; cursor: pointer;
  color: var(--pagelm-on-accent, #fff); background: var(--accent); border: 1px solid transparent; border-radius: var(--radius);
}
button.busy { color: var(--ink); background: var(--paper); border-color: var(--line); }
button:disabled { opacity: 0.55; cursor: not-allowed; }
:is(button, textarea, input, summary):focus-visible { outline: 3px solid color-mix(in srgb, var(--accent) 55%, transparent); outline-offset: 2px; }
[part=controls] { display: flex; flex-wrap: wrap; gap: 0.4em 1em; align-items: center; margin-block: 0.75em; }
[part=status], [part=amount], [part=echo] { color: var(--muted); }
[part=load] { display: flex; flex-wrap: wrap; gap: 0.3em 0.8em; align-items: center; margin-block-end: 0.75em; }
progress { flex: 1 1 12rem; block-size: 0.6rem; accent-color: var(--accent); }
[part=amount] { font-variant-numeric: tabular-nums; }
[part=output] {
  white-space: pre-wrap; overflow-wrap: anywhere; min-block-size: 3.2em; padding: 0.7em 0.85em;
  background: var(--paper); border: 1px solid var(--line); border-radius: var(--radius);
}
[part=error] { color: var(--alert); border-inline-start: 3px solid; padding-inline-start: 0.75em; margin-block: 0.75em; overflow-wrap: anywhere; }
[part=advice] { display: block; color: var(--ink); }
summary { cursor: pointer; padding-block: 0.4em; color: var(--muted); }
details { margin-block-start: 0.5em; }
details label { display: block; margin-block: 0.4em 0.15em; }
details input { inline-size: 9rem; }
`;

/** Puts the style into a shadow root: as a sheet, which no policy forbids, where the browser has them. */
export function styled(root) {
  try {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(TEXT);
    root.adoptedStyleSheets = [sheet];
  } catch {
    root.append(Object.assign(document.createElement("style"), { textContent: TEXT }));
  }
  return root;
}
