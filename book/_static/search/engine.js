// What the search finds, best first. MiniSearch ranks by words; here words become stems,
// what readers type becomes what the book says, and headings count for what they are.
window.bookSearch = (() => {
  const { pages, entries, words } = window.bookSections;
  const BOOST = { title: 4, above: 1.5, chapter: 1.5, text: 1, code: 0.25 };
  const HALF_TYPED = 0.4; // what a word counts of which the beginning alone is there
  const MISSPELT = 0.3;
  const IN_ORDER = 1.5; // if words stand side by side, as typed
  const MISSING = 3; // the power of the share of a query that a place speaks of
  const DEFINED = 0.75; // the share of a term's name that a query must have
  const STOP = new Set(
    `a about against am an and are as at be by can do does for from how i in into is it its
    me my of on or so than that the their there this to versus vs was we what when where
    which who why will with you your`.split(/\s+/),
  );
  const WORD = /\p{L}[\p{L}\p{N}]*(?:\.\d+)*|\p{N}+(?:[.,]\p{N}+)*\p{L}*/gu;

  // Words

  const lower = (text) => text.normalize("NFKC").toLowerCase();
  const parts = (text) => lower(text).match(WORD) ?? [];
  const known = new Map();
  const stem = (word) => {
    if (!known.has(word)) {
      const plain = /^[a-z]+$/.test(word);
      known.set(word, plain ? window.bookStemmer.stemWord(word) : word);
    }
    return known.get(word);
  };
  const stems = (text) => parts(text).map(stem).join(" ");
  const meaningful = (text) => {
    const all = parts(text);
    const kept = all.filter((word) => !STOP.has(word));
    return (kept.length ? kept : all).map(stem);
  };
  // The share of a heading's words that a phrase has, or of a phrase's if it is longer.
  const share = (title, phrase) =>
    phrase.filter((word) => title.has(word)).length / Math.max(title.size, phrase.length);

  // The index

  const titles = entries.map(([, , , title]) => new Set(meaningful(title)));
  const documents = entries.map(([page, , , title, above, text, code], id) => ({
    id,
    title: stems(title),
    above: stems(above),
    chapter: stems(pages[page][1]),
    text: stems(text),
    code: stems(code),
  }));
  const index = new MiniSearch({
    fields: Object.keys(BOOST),
    tokenize: (text) => text.split(" "),
    processTerm: (term) => term || null,
  });
  const ready = index.addAllAsync(documents, { chunkSize: 50 });

  // Phrases that readers type, the longest first, with the phrases of the book for them.
  const phrases = words
    .flatMap(([typed, said]) =>
      typed.map((phrase) => ({ typed: meaningful(phrase), said: said.map(meaningful) })),
    )
    .sort((a, b) => b.typed.length - a.typed.length);

  // The parts of a query, each with all ways to say it; the first way is the reader's.
  const concepts = (query) => {
    const rest = meaningful(query);
    const found = [];
    while (rest.length) {
      const begins = ({ typed }) => typed.every((word, i) => word === rest[i]);
      const phrase = phrases.find(begins);
      const typed = rest.splice(0, phrase?.typed.length ?? 1);
      found.push([typed, ...(phrase?.said ?? [])]);
    }
    return found;
  };

  // Places with all words of a phrase. Its last word may be half typed; if there is no
  // such place, the words may be misspelt.
  const places = (phrase, halfTyped) => {
    const text = phrase.join(" ");
    const options = {
      boost: BOOST,
      combineWith: "AND",
      prefix: (term, i) => halfTyped && i === phrase.length - 1 && term.length > 1,
      weights: { prefix: HALF_TYPED, fuzzy: MISSPELT },
    };
    let hits = index.search(text, options);
    if (!hits.length) {
      options.fuzzy = (term) => (term.length > 3 ? 0.25 : false);
      hits = index.search(text, options);
    }
    return hits.map(({ id, score, terms }) => {
      const { title, text: prose } = documents[id];
      const together = phrase.length > 1 && ` ${title} . ${prose} `.includes(` ${text} `);
      const named = 1 + share(titles[id], phrase) ** 2;
      return { id, terms, phrase, score: score * named * (together ? IN_ORDER : 1) };
    });
  };

  // Of all ways to say a part of a query, the one that a place says best.
  const best = (ways, isLast) => {
    const found = new Map();
    ways.forEach((phrase, way) => {
      for (const hit of places(phrase, isLast && way === 0)) {
        const before = found.get(hit.id);
        const terms = [...(before?.terms ?? []), ...hit.terms];
        found.set(hit.id, { ...(before?.score > hit.score ? before : hit), terms });
      }
    });
    return found;
  };

  const search = (query) => {
    const wanted = concepts(query);
    const typed = meaningful(query);
    const totals = new Map();
    wanted.forEach((ways, i) => {
      for (const [id, hit] of best(ways, i === wanted.length - 1)) {
        const total = totals.get(id) ?? { score: 0, met: 0, said: [], terms: new Set() };
        total.score += hit.score;
        total.met += 1;
        total.said.push(...hit.phrase);
        hit.terms.forEach((term) => total.terms.add(term));
        totals.set(id, total);
      }
    });
    return [...totals].map(([id, { score, met, said, terms }]) => {
      const [page, anchor, kind, title, above, text, , weight] = entries[id];
      const [file, chapter, part] = pages[page];
      const unsaid = Array(wanted.length - met).fill("");
      const named = share(titles[id], [...said, ...unsaid]);
      const asTyped = share(titles[id], typed);
      const all = (met / wanted.length) ** MISSING;
      return {
        score: score * weight * all * (1 + 2 * named ** 2) * (1 + asTyped ** 2),
        address: `${file}#${anchor}`,
        asTyped, kind, title, above, text, chapter, part, terms,
      };
    });
  };

  // Places, and the term of the glossary that was asked for, if one was.
  const find = (query) => {
    const found = search(query).sort((a, b) => b.score - a.score);
    const isTerm = ({ kind }) => kind === "term";
    const [term] = found.filter(isTerm).sort((a, b) => b.asTyped - a.asTyped);
    return {
      places: found.filter((place) => !isTerm(place)),
      term: term?.asTyped >= DEFINED ? term : null,
    };
  };

  // Excerpts

  // A text in pieces [text, is it a word that was found?]: all of it, or the part of
  // `length` words that has most of them.
  const excerpt = (text, terms, length = Infinity) => {
    const at = [...text.matchAll(WORD)].map((match) => ({
      from: match.index,
      to: match.index + match[0].length,
      found: terms.has(stem(lower(match[0]))) && stem(lower(match[0])),
    }));
    let [start, most] = [0, 0];
    if (length < at.length) {
      at.forEach(({ found }, i) => {
        if (!found) return;
        const near = at.slice(i, i + length - 6).flatMap((word) => word.found || []);
        const count = new Set(near).size;
        if (count > most) [most, start] = [count, i];
      });
      // From the beginning of the sentence, if it is near.
      for (let i = start; i > Math.max(0, start - 8); i--) {
        if (!/[.!?:]\s/.test(text.slice(at[i - 1].to, at[i].from))) continue;
        start = i;
        break;
      }
    }
    const shown = at.slice(start, start + length);
    const pieces = start ? [["… ", false]] : [];
    let end = start ? shown[0].from : 0;
    for (const { from, to, found } of shown) {
      pieces.push([text.slice(end, from), false], [text.slice(from, to), Boolean(found)]);
      end = to;
    }
    pieces.push([start + length < at.length ? " …" : text.slice(end), false]);
    return pieces.filter(([piece]) => piece);
  };

  return { find, excerpt, ready };
})();
