// What is wrong, in the compiler's words.
import type { Problem } from "./messages";

export function Problems({ problems, failure }: { problems: Problem[]; failure?: string }) {
  if (!problems.length && !failure) return null;
  return (
    <div class="problems" role="alert">
      {problems.map((problem) => (
        <Told key={problem.message + problem.at} problem={problem} />
      ))}
      {failure && (
        <p class="problem">
          The page failed, which is a fault of plainnet, not of your network: <code>{failure}</code>
        </p>
      )}
    </div>
  );
}

export function Told({ problem, id }: { problem: Problem; id?: string }) {
  return (
    <p class="problem" id={id}>
      {problem.message}
      {problem.at && <span class="at"> at {problem.at}</span>}
      {problem.hint && <span class="hint"> Hint: {problem.hint}.</span>}
    </p>
  );
}
