// A unified diff, its lines colored.
export function Diff({ text }: { text: string }) {
  return (
    <pre class="diff" tabIndex={0} role="region" aria-label="Difference">
      {text.split("\n").map((line, index) => (
        <span key={index} class={line.startsWith("+") ? "add" : line.startsWith("-") ? "cut" : ""}>
          {line}
          {"\n"}
        </span>
      ))}
    </pre>
  );
}
