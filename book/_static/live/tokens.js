// Tokens, problems and the judge of answers, as in r1/text, and the rewards of r1/rl.
{
  const TAGS = ["<think>", "</think>", "<answer>", "</answer>"];
  const [BOS, EOS, PAD] = ["<bos>", "<eos>", "<pad>"];
  const TOKENS = [BOS, EOS, PAD, ...TAGS, ..."0123456789abcdefghij+-*=;"];
  const IDS = new Map(TOKENS.map((token, id) => [token, id]));
  const PIECE = new RegExp(`${[BOS, EOS, PAD, ...TAGS].join("|")}|.`, "gs");

  const encode = (text) =>
    (text.match(PIECE) ?? []).map((piece) => {
      if (!IDS.has(piece)) throw new RangeError(`${piece} is not in the vocabulary`);
      return IDS.get(piece);
    });
  const decode = (ids) => ids.map((id) => TOKENS[id]).join("");

  // What a reader has typed, as a problem; Refused says what is wrong and what to do.
  class Refused extends Error {}
  const MOST = 8; // terms that any of the models has been trained on
  const SAME = { "×": "*", "·": "*", "∗": "*", "−": "-", "–": "-", "＋": "+" };
  const EXAMPLE = "for example 7*3+5-2";
  const readProblem = (typed) => {
    const plain = typed.replace(/[×·∗−–＋]/g, (sign) => SAME[sign]);
    const text = plain.replace(/\s/g, "").replace(/=$/, "");
    if (!text) throw new Refused(`Type a problem, ${EXAMPLE}.`);
    const strange = [...text].find((one) => !/[-+*0-9]/.test(one));
    if (strange)
      throw new Refused(`“${strange}” cannot be used. Use digits and + - *, ${EXAMPLE}.`);
    const long = text.match(/[0-9]{2,}/);
    if (long)
      throw new Refused(
        `${long[0].slice(0, 12)} has ${long[0].length} digits. ` +
          `Put a sign between two digits, ${EXAMPLE}.`,
      );
    if (!/^[0-9]([-+*][0-9])+$/.test(text))
      throw new Refused(`Write digit, sign, digit, and so on, ${EXAMPLE}.`);
    const terms = [...text].filter((_, i) => i % 2 === 0).map(Number);
    const operations = [...text].filter((_, i) => i % 2 === 1).join("");
    if (terms.length > MOST)
      throw new Refused(
        `This problem has ${terms.length} numbers. Use at most ${MOST}: ` +
          "no model here has read a longer one.",
      );
    return { terms, operations, text, prompt: `${BOS}${text}=` };
  };

  // What a problem has that the model, or R1, has not read in any problem.
  const beyond = ({ terms }, r1) => {
    const [least, most] = r1 ? [2, 8] : [3, 5];
    if (terms.some((term) => term < 2))
      return " No model here has read a 0 or a 1 in a problem.";
    if (terms.length >= least && terms.length <= most) return "";
    return ` This model has read problems of ${least} to ${most} numbers.`;
  };

  const STEP = {
    "+": (a, b) => (a + b) % 10,
    "-": (a, b) => (a - b + 10) % 10,
    "*": (a, b) => (a * b) % 10,
  };
  // Every running result; the last one is the answer.
  const results = ({ terms, operations }) => {
    const found = [terms[0]];
    [...operations].forEach((sign, i) =>
      found.push(STEP[sign](found[i], terms[i + 1])),
    );
    return found;
  };
  const answerOf = (problem) => String(results(problem).at(-1));

  const FORM = /^(?:<think>([^<]*)<\/think>)?<answer>([^<]+)<\/answer>$/;
  // Thought and answer of a text, or null where the form is not kept.
  const read = (text) => {
    const found = (text.endsWith(EOS) ? text.slice(0, -EOS.length) : text).match(FORM);
    return found && { thought: found[1] ?? null, answer: found[2] };
  };
  // The digit that an answer gives, or null. With `summary` it may be followed by the
  // step that it comes from, 6=1+5, as R1 of chapter 14 writes it.
  const valueOf = (problem, answer, summary) => {
    if (/^[0-9]$/.test(answer)) return answer;
    const end = problem.operations.at(-1) + problem.terms.at(-1);
    const shaped = answer.length === 5 && /^[0-9]=[0-9]/.test(answer);
    return summary && shaped && answer.endsWith(end) ? answer[0] : null;
  };
  const isRight = (problem, answer, summary) => {
    const value = answerOf(problem);
    if (answer === value) return true;
    const left = results(problem).at(-2);
    const last = `${problem.operations.at(-1)}${problem.terms.at(-1)}`;
    return summary && answer === `${value}=${left}${last}`;
  };
  // What is said of a text: its thought, its answer and the digit that this gives, whether
  // it is right, and its reward: 1 for the right answer, and 0.1 for the form.
  const judge = (problem, text, summary = false) => {
    const found = read(text);
    const value = found && valueOf(problem, found.answer, summary);
    const right = found !== null && isRight(problem, found.answer, summary);
    const reward = Number(right) + 0.1 * Number(value !== null);
    return { ...(found ?? { thought: null, answer: null }), value, right, reward };
  };

  // (r - mean) / standard deviation of the group; 0 where all rewards are equal.
  const advantages = (rewards) => {
    if (rewards.every((reward) => reward === rewards[0])) return rewards.map(() => 0);
    const mean = (values) => values.reduce((a, b) => a + b) / values.length;
    const middle = mean(rewards);
    const spread = Math.sqrt(mean(rewards.map((r) => (r - middle) ** 2)));
    return rewards.map((reward) => (reward - middle) / spread);
  };

  Object.assign(R1, { TOKENS, IDS, EOS, encode, decode, Refused, readProblem });
  Object.assign(R1, { beyond, results, answerOf, judge, advantages });
}
