// One target's file: highlighted, to copy and to download, with the command that writes it.
import { useMemo, useState } from "preact/hooks";
import { escaped, lines } from "./highlight";
import { download, useCopy, type Asked } from "./hooks";
import { marking } from "./marks";
import type { Named, Problem, Source } from "./messages";
import { Problems } from "./problems";

interface Props {
  target: Named;
  asked: Asked<Source>;
  told: Problem[]; // what stands beside the fields of the form
}

export function SourcePane({ target, asked, told }: Props) {
  const source = asked.value?.target === target.name ? asked.value : undefined;
  const [word, copy] = useCopy(source?.text ?? "");
  const own = asked.problems.filter((one) => !told.some((other) => other.message === one.message));
  const stale = asked.problems.length > 0 || asked.waiting;
  const ready = source && !stale; // what is shown is the file of the form
  return (
    <section class="source" aria-label={`${target.title} source`} aria-busy={asked.waiting}>
      <header>
        <h2>{target.title}</h2>
        <span class="file">{source ? source.file : ""}</span>
        <span class="grow" />
        <button type="button" onClick={copy} disabled={!ready}>
          {word}
        </button>
        <button
          type="button"
          class="first"
          disabled={!ready}
          onClick={() => source && download(source.file, source.text, "text/x-python")}
        >
          Download
        </button>
      </header>
      <Problems problems={own} failure={asked.failure} />
      {told.length > 0 && (
        <p class="note">
          {source ? "The file of before the error in the form." : "The form has an error."}
        </p>
      )}
      {source ? (
        <Code source={source} stale={stale} title={target.title} />
      ) : (
        <div class="empty">{asked.problems.length ? "" : "The compiler is starting."}</div>
      )}
      {source && <Commands source={source} />}
    </section>
  );
}

function Code({ source, stale, title }: { source: Source; stale: boolean; title: string }) {
  const html = useMemo(
    () =>
      lines(source.text)
        .map((line, index) => {
          const keys = source.lines[String(index + 1)];
          const own = keys ? ` data-keys="${escaped(keys.join("|"))}"` : "";
          return `<span class="line"${own}>${line}\n</span>`;
        })
        .join(""),
    [source.text],
  );
  return (
    <pre
      class={stale ? "code stale" : "code"}
      tabIndex={0}
      role="region"
      aria-label={`${title} file ${source.file}. Arrow keys move between steps.`}
      data-region
      {...marking}
    >
      <code dangerouslySetInnerHTML={{ __html: html }} />
    </pre>
  );
}

function Commands({ source }: { source: Source }) {
  const [python, choose] = useState(false);
  const text = python ? `import plainnet\n\nsource = ${source.call}` : source.command;
  const [word, copy] = useCopy(text);
  return (
    <footer class="commands">
      <div class="choice" role="group" aria-label="How to write the same file">
        <button type="button" aria-pressed={!python} onClick={() => choose(false)}>
          Command
        </button>
        <button type="button" aria-pressed={python} onClick={() => choose(true)}>
          Python
        </button>
        <span class="grow" />
        <button type="button" onClick={copy}>
          {word}
        </button>
      </div>
      <pre
        class={python ? "call" : "command"}
        tabIndex={0}
        role="region"
        aria-label={python ? "Call in Python" : "Command"}
      >
        {text}
      </pre>
    </footer>
  );
}
