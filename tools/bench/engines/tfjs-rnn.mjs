// LSTM and GRU for TensorFlow.js. The weights come in ONNX' gate order and are put into Keras' (i, f, c, o and z, r, h).
const ORDER = { lstm: [0, 2, 3, 1], gru: [0, 1, 2] };

/** Of each layer: kernels as (inputs, gates x hidden), and both biases. */
function prepare(tf, shape, w) {
  const order = ORDER[shape.kind];
  const gates = (t) => tf.concat(order.map((i) => tf.split(t, order.length, 0)[i]), 0);
  return Array.from({ length: shape.layers }, (_, i) => {
    const [input, state] = [`W${i}`, `R${i}`].map((name) => gates(w[name]).transpose());
    const [inputBias, stateBias] = tf.split(w[`B${i}`], 2).map(gates);
    return { input, state, inputBias, stateBias };
  });
}

/** An LSTM's product is one: both kernels joined. */
function joined(tf, { input, state, inputBias, stateBias }) {
  return { kernel: tf.concat([input, state], 0), bias: tf.add(inputBias, stateBias) };
}

function lstm(tf, x, [h, c], { kernel, bias }) {
  const [i, f, g, o] = tf.split(tf.fused.matMul({ a: tf.concat([x, h], 1), b: kernel, bias }), 4, 1);
  const next = tf.add(tf.mul(tf.sigmoid(f), c), tf.mul(tf.sigmoid(i), tf.tanh(g)));
  return [tf.mul(tf.sigmoid(o), tf.tanh(next)), next];
}

function gru(tf, x, [h], { input, inputBias, state, stateBias }) {
  const [az, ar, an] = tf.split(tf.fused.matMul({ a: x, b: input, bias: inputBias }), 3, 1);
  const [bz, br, bn] = tf.split(tf.fused.matMul({ a: h, b: state, bias: stateBias }), 3, 1);
  const z = tf.sigmoid(tf.add(az, bz));
  const r = tf.sigmoid(tf.add(ar, br));
  const n = tf.tanh(tf.add(an, tf.mul(r, bn)));
  return [tf.add(n, tf.mul(z, tf.sub(h, n)))];
}

/** The cells in operations, each step in one tidy(). */
export function cells(tf, shape, w) {
  const isLstm = shape.kind === "lstm";
  const weights = tf.tidy(() => prepare(tf, shape, w).map((layer) => (isLstm ? joined(tf, layer) : layer)));
  for (let i = 0; i < shape.layers; i++) tf.dispose([w[`W${i}`], w[`R${i}`], w[`B${i}`]]);
  const cell = isLstm ? lstm : gru;
  let state = [];

  function step(id) {
    const old = state;
    const [logits, ...flat] = tf.tidy(() => {
      let x = tf.gather(w.emb, tf.tensor1d([id], "int32"));
      const next = weights.map((layer, i) => {
        const parts = cell(tf, x, old[i], layer);
        x = parts[0];
        return parts;
      });
      return [tf.fused.matMul({ a: x, b: w["out.w"], bias: w["out.b"] }), ...next.flat()];
    });
    tf.dispose(old);
    const parts = flat.length / shape.layers;
    state = old.map((_, i) => flat.slice(i * parts, (i + 1) * parts));
    return logits;
  }

  return {
    reset() {
      tf.dispose(state);
      const zeros = () => tf.zeros([1, shape.hidden]);
      state = weights.map(() => (isLstm ? [zeros(), zeros()] : [zeros()]));
    },
    run(ids) {
      let logits;
      for (const id of ids) {
        logits?.dispose();
        logits = step(id);
      }
      return logits;
    },
  };
}

/** tf.layers, stateful. It has no GRU with reset_after, so that GRU is another network of the same size. */
export function layers(tf, shape, w) {
  const { embedding, dense, [shape.kind]: recurrent } = tf.layers;
  const model = tf.sequential();
  model.add(embedding({ inputDim: shape.vocab, outputDim: shape.embedding, batchInputShape: [1, null] }));
  for (let i = 0; i < shape.layers; i++) {
    model.add(recurrent({
      units: shape.hidden, stateful: true, returnSequences: i + 1 < shape.layers, implementation: 2,
      // Not the default orthogonal matrices, which take a minute to make.
      recurrentActivation: "sigmoid", recurrentInitializer: "zeros", kernelInitializer: "zeros",
      ...(shape.kind === "gru" ? { resetAfter: false } : {}),
    }));
  }
  model.add(dense({ units: shape.vocab }));
  tf.tidy(() => {
    const parts = prepare(tf, shape, w).flatMap((layer) => [layer.input, layer.state, tf.add(layer.inputBias, layer.stateBias)]);
    model.setWeights([w.emb, ...parts, w["out.w"], w["out.b"]]);
  });
  tf.dispose(w);
  return {
    reset: () => model.resetStates(),
    run(ids) {
      const input = tf.tensor2d([ids]);
      const logits = model.predict(input);
      input.dispose();
      return logits;
    },
  };
}
