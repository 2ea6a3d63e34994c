// Advice about a network, with figures.
import type { Note } from "./messages";
import { marking } from "./marks";

export function Notes({ notes }: { notes: Note[] }) {
  if (!notes.length) return <p class="empty">There is no advice about this network.</p>;
  return (
    <ul class="notes" tabIndex={0} aria-label="Advice" data-region {...marking}>
      {notes.map((note) => (
        <li
          key={note.message}
          class={note.kind}
          data-keys={note.steps.map((step) => `step ${step}`).join("|")}
        >
          <strong>{note.kind === "warning" ? "Warning" : "Advice"}</strong> {note.message}
          {note.hint && <span class="hint"> {note.hint}</span>}
        </li>
      ))}
    </ul>
  );
}
