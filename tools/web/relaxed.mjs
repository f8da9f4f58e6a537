// Relaxed SIMD where Node.js hides it.
import { setFlagsFromString } from "node:v8";

/**
 * Before any module is compiled. Node.js 20 has relaxed-simd behind a flag, and its baseline compiler computes the dot
 * product wrong; the loader takes another build there, so this is for those who name the relaxed one. Later versions need
 * nothing.
 */
export function allowRelaxed() {
  if (Number.parseInt(process.versions.v8) >= 12) return;
  setFlagsFromString("--experimental-wasm-relaxed-simd");
  setFlagsFromString("--no-liftoff");
}
