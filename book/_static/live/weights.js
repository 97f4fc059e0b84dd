// Weights from the files that book/live_weights.py writes: half precision, as bytes that
// are sorted, packed and spelled in base64, so that a page from a disk can load them.
{
  const half = (bits) => {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  };
  let table = null; // all half-precision numbers, by their bits
  const singles = (halves) => {
    table ??= Float32Array.from({ length: 65536 }, (_, bits) => half(bits));
    return Float32Array.from(halves, (bits) => table[bits]);
  };

  const unpack = async (text) => {
    const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream();
    const open = stream.pipeThrough(new DecompressionStream("deflate"));
    const bytes = new Uint8Array(await new Response(open).arrayBuffer());
    // All high bytes, then all low bytes.
    const count = bytes.length / 2;
    return Uint16Array.from(
      { length: count },
      (_, i) => (bytes[i] << 8) | bytes[count + i],
    );
  };

  // The bits of a half, as a number that grows with the half, and back.
  const place = (bits) => (bits & 0x8000 ? 0x8000 - bits : bits);
  const bitsAt = (number) => (number < 0 ? 0x8000 - number : number);
  // Where a model is told as what it differs in from another: each difference of places
  // as 0, -1, 1, -2, 2 for 0, 1, 2, 3, 4.
  const moved = (halves, steps) =>
    Uint16Array.from(steps, (step, i) => {
      const difference = step & 1 ? -(step + 1) / 2 : step / 2;
      return bitsAt(place(halves[i]) + difference);
    });

  const files = {}; // what the scripts hand over, by the names of the models
  const models = {}; // promises of models
  R1.weights = (name, file) => {
    files[name] = file;
  };

  const halves = {}; // promises of the bits of a model
  const fetched = async (name, folder) => {
    if (!files[name]) await R1.script(`${folder}weights/${name}.js`);
    const file = files[name];
    const from = file.from ? await bits(file.from, folder) : null;
    const own = await unpack(file.data);
    delete file.data;
    return from ? moved(from, own) : own;
  };
  // Kept in `found`; where it fails it can be tried again.
  const once = (found, name, make) =>
    (found[name] ??= make().catch((error) => {
      delete found[name];
      throw error;
    }));
  const bits = (name, folder) => once(halves, name, () => fetched(name, folder));

  const build = async (name, folder) => {
    const all = await bits(name, folder);
    const file = files[name];
    const base = files[file.from] ?? file;
    const tensors = {};
    let at = 0;
    for (const [tensor, size] of base.tensors) {
      // What only the base has, its MTP module, stands at the end.
      const source = at < all.length ? all : await bits(file.from, folder);
      tensors[tensor] = singles(source.subarray(at, at + size));
      at += size;
    }
    return new R1.Model(base.config, tensors);
  };

  // The model of a name.
  R1.load = (name, folder) => once(models, name, () => build(name, folder));
}
