// node gen.mjs FILE.wasm: writes the module that ../engines/roofline.mjs measures with. Each function reads `n` bytes at
// `p` `r` times, into eight accumulators; products are with a vector that stays in a register, as a matrix meets a vector.
import { writeFileSync } from "node:fs";
import makeWabt from "wabt";

const lanes = [...Array(8).keys()];
const load = (k) => `(v128.load offset=${16 * k} (i32.add (local.get $p) (local.get $i)))`;
const add = (type, k, value) => `(local.set $a${k} (${type}.add (local.get $a${k}) ${value}))`;
const Y = "(local.get $y)";

/** Bytes extended to 16 bits, then multiplied: what 8-bit weights need without relaxed SIMD. */
function bytes(k) {
  const half = (part) => `(i32x4.dot_i16x8_s (i16x8.extend_${part}_i8x16_s (local.get $x)) ${Y})`;
  return `(local.set $x ${load(k)}) ${add("i32x4", k, `(i32x4.add ${half("low")} ${half("high")})`)}`;
}

const BODIES = {
  read: (k) => add("f32x4", k, load(k)),
  f32: (k) => add("f32x4", k, `(f32x4.mul ${load(k)} ${Y})`),
  dot8: bytes,
  relaxed: (k) => `(local.set $a${k} (i32x4.relaxed_dot_i8x16_i7x16_add_s ${load(k)} ${Y} (local.get $a${k})))`,
};

const sum = lanes.slice(1).reduce((text, k) => `(f32x4.add ${text} (local.get $a${k}))`, "(local.get $a0)");
const functions = Object.entries(BODIES).map(([name, body]) => `
  (func (export "${name}") (param $p i32) (param $n i32) (param $r i32) (result f32)
    (local $i i32) (local $x v128) (local $y v128) ${lanes.map((k) => `(local $a${k} v128)`).join(" ")}
    (local.set $y (v128.load (local.get $p)))
    (loop $again
      (local.set $i (i32.const 0))
      (loop $along
        ${lanes.map(body).join("\n        ")}
        (br_if $along (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 128))) (local.get $n))))
      (br_if $again (i32.gt_s (local.tee $r (i32.sub (local.get $r) (i32.const 1))) (i32.const 0))))
    (f32x4.extract_lane 0 ${sum}))`);
// 256 MiB to read, far more than any cache, after the first page.
const text = `(module (memory (export "memory") 4097) ${functions.join("")})`;
const wabt = await makeWabt();
const module = wabt.parseWat("roofline.wat", text, { simd: true, relaxed_simd: true });
writeFileSync(process.argv[2], module.toBinary({}).buffer);
