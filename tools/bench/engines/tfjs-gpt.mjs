// GPT-2 in operations of TensorFlow.js, with the past kept in tensors.
export function gpt(tf, shape, w) {
  const { layers, heads, width } = shape;
  const size = width / heads;
  let past = [];
  let length = 0;

  function norm(x, name) {
    const { mean, variance } = tf.moments(x, -1, true);
    const scaled = tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, 1e-5)));
    return tf.add(tf.mul(scaled, w[`${name}.weight`]), w[`${name}.bias`]);
  }

  const linear = (x, name) => tf.fused.matMul({ a: x, b: w[`${name}.weight`], bias: w[`${name}.bias`] });

  function gelu(x) {
    const inner = tf.mul(0.7978845608, tf.add(x, tf.mul(0.044715, tf.mul(x, tf.mul(x, x)))));
    return tf.mul(tf.mul(0.5, x), tf.add(1, tf.tanh(inner)));
  }

  function mask(steps, total) {
    const later = (i) => i % total > length + Math.floor(i / total);
    return tf.tensor2d(Float32Array.from({ length: steps * total }, (_, i) => (later(i) ? -1e9 : 0)), [steps, total]);
  }

  function attention(x, layer, hidden, kept) {
    const split = (part) => tf.transpose(tf.reshape(part, [x.shape[0], heads, size]), [1, 0, 2]);
    const [q, k, v] = tf.split(linear(x, `h.${layer}.attn.c_attn`), 3, 1).map(split);
    const keys = past.length ? tf.concat([past[2 * layer], k], 1) : k;
    const values = past.length ? tf.concat([past[2 * layer + 1], v], 1) : v;
    kept.push(keys, values);
    let scores = tf.mul(tf.matMul(q, keys, false, true), 1 / Math.sqrt(size));
    if (hidden) scores = tf.add(scores, hidden);
    const mixed = tf.matMul(tf.softmax(scores), values);
    return linear(tf.reshape(tf.transpose(mixed, [1, 0, 2]), [x.shape[0], width]), `h.${layer}.attn.c_proj`);
  }

  function forward(ids) {
    const kept = [];
    const hidden = ids.length > 1 ? mask(ids.length, length + ids.length) : null;
    const positions = tf.slice(w["wpe.weight"], [length, 0], [ids.length, width]);
    let x = tf.add(tf.gather(w["wte.weight"], tf.tensor1d(ids, "int32")), positions);
    for (let i = 0; i < layers; i++) {
      x = tf.add(x, attention(norm(x, `h.${i}.ln_1`), i, hidden, kept));
      x = tf.add(x, linear(gelu(linear(norm(x, `h.${i}.ln_2`), `h.${i}.mlp.c_fc`)), `h.${i}.mlp.c_proj`));
    }
    const last = norm(tf.slice(x, [ids.length - 1, 0], [1, width]), "ln_f");
    return [tf.matMul(last, w["wte.weight"], false, true), ...kept];
  }

  return {
    reset() {
      tf.dispose(past);
      past = [];
      length = 0;
    },
    run(ids) {
      const old = past;
      const [logits, ...kept] = tf.tidy(() => forward(ids));
      tf.dispose(old);
      past = kept;
      length += ids.length;
      return logits;
    },
  };
}
