/*
 * pagelm: language models in one block of memory.
 *
 * Conventions, once for all functions:
 *
 * Memory. A size query says how many bytes an object needs, to the byte for this build; its init
 *   function takes at least that much memory from you and puts the object there. Nothing is ever
 *   allocated, and there are no free functions: stop using a handle, then the memory is yours again.
 *   Memory and model files start at a multiple of 8 bytes; malloc's do. An object must not be moved
 *   or copied; pagelm_session_snapshot makes a copy that can travel.
 *
 * Lifetime. A model needs its memory and its file until its last session is used no more, a session
 *   its memory until it is used no more. The memories of different objects and the file are apart,
 *   and so are the areas that one call is given.
 *   Pointers that a function gives (text, logits) point into the session and hold until the next
 *   call that changes it.
 *
 * Errors. Functions that can fail return an int32_t: PAGELM_OK (0), another number above 0 that
 *   tells more (PAGELM_TOKEN, ...), or a PAGELM_ERROR_* below 0. Outputs are written on success
 *   only. pagelm_status_text has words for every status; a pagelm_error, which may be NULL,
 *   receives the full story, and a session keeps its last one (pagelm_session_last_error).
 *   NULL, misaligned pointers, too little memory, overlapping memory, and handles that were never
 *   initialised, moved or overwritten are errors of their own. docs/ABI.md lists every status with
 *   its cause and what to do.
 *
 * Structures begin with struct_size: set it to sizeof the structure and everything else to zero
 *   (C: `pagelm_sampling s = { .struct_size = sizeof s };`). Zero always means the default. Later
 *   versions append fields; programs built with an older or newer header keep working.
 *
 * Text is bytes with a length, in and out, and not ended by zero. A token may end in the middle of
 *   a UTF-8 character, so join the pieces before you decode them.
 *
 * Generating is pulled: feed a prompt, then call pagelm_session_run until you have enough or it
 *   returns PAGELM_FINISHED; pagelm_session_text has what each call released. Stop calling, and
 *   generation has stopped. With a budget, run returns PAGELM_MORE when that much work is done, so
 *   that a page or a game never waits long.
 *
 * Streaming a file: give pagelm_model_init what has arrived; when it says PAGELM_MORE, write the
 *   following bytes behind the first ones and tell pagelm_model_advance how many there are now.
 *   Loading rearranges the weights in place, so bytes that were given are not to be read or
 *   written again.
 *
 * Threads. Different sessions may run in different threads at the same time, on one model too. One
 *   session, or one model while it loads, belongs to one thread at a time. A const handle is only
 *   read, so such calls may run side by side.
 */


#ifndef PAGELM_H
#define PAGELM_H

#include <stddef.h>
#include <stdint.h>

// The version of this interface, 0x00MMmmpp: a new major breaks programs, a new minor adds
// functions or fields. `pagelm_abi_version` tells it of the library.
#define PAGELM_ABI_VERSION 512

// Done.
#define PAGELM_OK 0

// A token is ready.
#define PAGELM_TOKEN 1

// Not finished: call again (`run`, `eval`), or give more of the file (`probe`, `init`, `advance`).
#define PAGELM_MORE 2

// The text is finished; `finish` of `pagelm_session_info` says why.
#define PAGELM_FINISHED 3

// The file ends before what its header promises.
#define PAGELM_ERROR_TRUNCATED -1

// The file is not a GGUF file.
#define PAGELM_ERROR_BAD_MAGIC -2

// A version of the file format that this build cannot read.
#define PAGELM_ERROR_BAD_VERSION -3

// The file contradicts itself or the format.
#define PAGELM_ERROR_CORRUPT -4

// An architecture that this build does not run.
#define PAGELM_ERROR_UNSUPPORTED_ARCH -5

// A tensor in a format that this build cannot read.
#define PAGELM_ERROR_UNSUPPORTED_TYPE -6

// Something valid that this build does not do.
#define PAGELM_ERROR_UNSUPPORTED -7

// A metadata key that the model needs is absent.
#define PAGELM_ERROR_MISSING_KEY -8

// A metadata value is of the wrong type or out of its range.
#define PAGELM_ERROR_BAD_VALUE -9

// A tensor that the model needs is absent.
#define PAGELM_ERROR_MISSING_TENSOR -10

// A tensor's shape or type does not fit the metadata.
#define PAGELM_ERROR_BAD_SHAPE -11

// A weight is infinite or not a number.
#define PAGELM_ERROR_NOT_FINITE -12

// The model's numbers overflowed while running.
#define PAGELM_ERROR_OVERFLOW -13

// The memory given is too small.
#define PAGELM_ERROR_OUT_OF_MEMORY -14

// A size does not fit this machine's address space.
#define PAGELM_ERROR_TOO_LARGE -15

// A pointer is not a multiple of what it must be.
#define PAGELM_ERROR_MISALIGNED -16

// A token id is not below the vocabulary's size.
#define PAGELM_ERROR_BAD_TOKEN -17

// The model file holds no tokenizer.
#define PAGELM_ERROR_NO_TOKENIZER -18

// The vocabulary cannot express the text.
#define PAGELM_ERROR_UNENCODABLE -19

// The text is longer than `max_text` of the session, or than `work` allows.
#define PAGELM_ERROR_TEXT_TOO_LONG -20

// More tokens than the context holds.
#define PAGELM_ERROR_PROMPT_TOO_LONG -21

// Nothing was fed, and the model names no token to begin with.
#define PAGELM_ERROR_NOTHING_FED -22

// The queue is not worked through yet.
#define PAGELM_ERROR_NO_LOGITS -23

// A parameter is out of its range.
#define PAGELM_ERROR_BAD_PARAM -24

// The snapshot does not belong to a session like this one.
#define PAGELM_ERROR_BAD_SNAPSHOT -25

// The model file has not arrived in full.
#define PAGELM_ERROR_NOT_LOADED -26

// A table of fixed length is full.
#define PAGELM_ERROR_FULL -27

// A required pointer is NULL.
#define PAGELM_ERROR_NULL -28

// A handle that is not alive.
#define PAGELM_ERROR_DEAD_HANDLE -29

// `struct_size` is not set to the structure's size.
#define PAGELM_ERROR_BAD_STRUCT -30

// A buffer for an answer is too small.
#define PAGELM_ERROR_BUFFER_TOO_SMALL -31

// Something taken for impossible: please report it.
#define PAGELM_ERROR_INTERNAL -32

// Two areas of memory that must be apart share bytes.
#define PAGELM_ERROR_OVERLAP -33

// An area of memory that wraps around or ends outside of memory.
#define PAGELM_ERROR_BAD_RANGE -34

// An input or a state has another length than the model takes.
#define PAGELM_ERROR_BAD_INPUT -35

// No such token: the value of `bos` and `eos` where the model names none.
#define PAGELM_NO_TOKEN 4294967295

// `tokenizer` of `pagelm_model_info`: none; the model takes token ids only.
#define PAGELM_TOKENIZER_NONE 0

// Byte-level byte-pair encoding, as GPT-2 has it.
#define PAGELM_TOKENIZER_BPE 1

// Pieces of bytes, the longest match first: byte and character vocabularies.
#define PAGELM_TOKENIZER_PIECES 2

// Flag of `feed_text` and `tokenize`: text that spells a special token becomes that token.
#define PAGELM_PARSE_SPECIAL 1

// Flag of `pagelm_session_params`: keep the logits of every token, not only of the last.
#define PAGELM_ALL_LOGITS 1

// Flag of `pagelm_session_params`: keep what `pagelm_session_embedding` needs.
#define PAGELM_EMBEDDING 2

// Flag of `pagelm_session_params`: keep what `pagelm_session_attention` needs, 4 bytes for each
// position, head and layer.
#define PAGELM_ATTENTION 4

// Flag of `pagelm_session_params`: keep attention's keys and values in F16, which takes half the
// memory and rounds them. Without effect on heads of an odd size, on a recurrent network, and in a build without
// the quantised formats.
#define PAGELM_HALF_CACHE 8

// Flag of `pagelm_session_params`: do without what only saves time. That is the table in which a
// recurrent network with no more tokens than its first layer has inputs keeps what that layer makes
// of each token. The results are the same.
#define PAGELM_LOW_MEMORY 16

// Flag of `predict`: go on from the state that the call before left.
#define PAGELM_STATEFUL 1

// Flag of `predict`: give the outputs of every step, not only of the last.
#define PAGELM_EVERY_STEP 2

// Flag of `pagelm_sampling`: the model's end-of-text token is a token like others.
#define PAGELM_IGNORE_EOS 1

// `pooling` of `pagelm_session_embedding`: the mean over all tokens.
#define PAGELM_POOL_MEAN 0

// The last token.
#define PAGELM_POOL_LAST 1

// `when_full` of `pagelm_session_params`: a full context finishes the text.
#define PAGELM_WHEN_FULL_STOP 0

// A full context drops its oldest half and goes on.
#define PAGELM_WHEN_FULL_SLIDE 1

// `finish` of `pagelm_session_info`: not finished.
#define PAGELM_FINISH_NOT 0

// The model chose its end-of-text token or a stop token.
#define PAGELM_FINISH_STOP_TOKEN 1

// The text reached a stop string.
#define PAGELM_FINISH_STOP_STRING 2

// The context is full.
#define PAGELM_FINISH_CONTEXT_FULL 3

// A model in the caller's memory. Many sessions may share it.
typedef struct pagelm_model pagelm_model;

// One text being written, in the caller's memory.
typedef struct pagelm_session pagelm_session;

// What a model file says about itself.
typedef struct {
    // `sizeof(pagelm_model_info)`, set by the caller.
    uint32_t struct_size;
    // Tokens in the vocabulary: ids run from 0 to n_vocab - 1.
    uint32_t n_vocab;
    // The longest context the model was made for, in tokens.
    uint32_t n_ctx;
    // Width of the model.
    uint32_t n_embd;
    // Layers.
    uint32_t n_layer;
    // Attention heads.
    uint32_t n_head;
    // PAGELM_TOKENIZER_*.
    uint32_t tokenizer;
    // The token that begins a text, or PAGELM_NO_TOKEN.
    uint32_t bos;
    // The token that ends a text, or PAGELM_NO_TOKEN.
    uint32_t eos;
    // 1 if the weights are packed already: such a file may stay in read-only memory.
    uint32_t packed;
    // Bytes of the file before its weights.
    uint64_t header_size;
    // Bytes of the whole file, as its header promises.
    uint64_t file_size;
    // Bytes of memory that `pagelm_model_init` needs.
    uint64_t model_mem_size;
    // Weights.
    uint64_t n_params;
    // Work of one token in an empty context, at most, in the units of `budget`.
    uint64_t work_per_token;
    // The architecture, for example "gpt2"; ended by a zero byte, cut to fit.
    char arch[16];
    // The model's name, UTF-8 as the file has it; ended by a zero byte, cut to fit.
    char name[64];
    // Numbers of a step of input for `pagelm_session_predict`; 0: the model takes tokens.
    uint32_t n_input;
    // Numbers of output; n_vocab for a language model.
    uint32_t n_output;
    // Numbers of a recurrent network's state; 0 for a transformer.
    uint32_t n_state;
    // Numbers of an embedding; see `pagelm_session_embedding`.
    uint32_t n_hidden;
} pagelm_model_info;

// What went wrong in a call, in full. As the last parameter of a call it may be NULL.
typedef struct {
    // `sizeof(pagelm_error)`, set by the caller.
    uint32_t struct_size;
    // The status that the call returned.
    int32_t code;
    // The byte of the model file (or of the text) that the error is about, else 0.
    uint64_t offset;
    // One sentence in English, ended by a zero byte; cut to fit.
    char text[176];
} pagelm_error;

// How a session is laid out. All zero but `struct_size` is a good choice.
typedef struct {
    // `sizeof(pagelm_session_params)`, set by the caller.
    uint32_t struct_size;
    // Tokens of context, at most the model's n_ctx; 0: the model's n_ctx. A recurrent network never
    // fills up: it is how many tokens are remembered for the penalties, and how many may wait.
    uint32_t n_ctx;
    // Prompt tokens worked on at once; 0: 16. It changes speed and memory, never a result. For a
    // model with bidirectional layers, the most steps of a `predict`; 0: what its file says.
    uint32_t n_batch;
    // The longest text, in bytes, that one `feed_text` takes; 0: 8 * n_ctx, at least 256.
    uint32_t max_text;
    // PAGELM_WHEN_FULL_*.
    uint32_t when_full;
    // PAGELM_ALL_LOGITS, PAGELM_EMBEDDING, PAGELM_ATTENTION, PAGELM_HALF_CACHE and
    // PAGELM_LOW_MEMORY, or 0.
    uint32_t flags;
} pagelm_session_params;

// How the next token is chosen. All zero but `struct_size` is greedy: the likeliest token.
// The stages run in the order of the fields' list in docs/ABI.md.
typedef struct {
    // `sizeof(pagelm_sampling)`, set by the caller.
    uint32_t struct_size;
    // 0: greedy; 1: the model's own distribution; below 1 more careful, above 1 wilder.
    float temperature;
    // Choose among this many of the likeliest tokens; 0: all.
    uint32_t top_k;
    // Choose among the likeliest tokens that together have this probability; 0: all.
    float top_p;
    // Leave out tokens less likely than this share of the likeliest one; 0: none.
    float min_p;
    // Divide positive logits of recent tokens by this, multiply negative ones; 0 or 1: off.
    float repetition_penalty;
    // Take this off the logit of every recent token; 0: off.
    float presence_penalty;
    // Take this off per recent occurrence of a token; 0: off.
    float frequency_penalty;
    // How many tokens back is recent; 0: 64.
    uint32_t penalty_last_n;
    // PAGELM_IGNORE_EOS or 0.
    uint32_t flags;
    // The seed: the same seed, model, prompt and settings give the same text on every machine.
    uint64_t seed;
} pagelm_sampling;

// Where a session stands.
typedef struct {
    // `sizeof(pagelm_session_info)`, set by the caller.
    uint32_t struct_size;
    // Tokens of context the session was laid out for.
    uint32_t n_ctx;
    // Tokens worked through, now in the context.
    uint32_t n_past;
    // Tokens fed and not worked through yet.
    uint32_t n_queued;
    // Tokens generated since `init` or `reset`.
    uint32_t n_generated;
    // PAGELM_FINISH_*.
    uint32_t finish;
    // Work until the queue is empty, at most, in the units of `budget`.
    uint64_t work_left;
    // Work of the tokens done since `init` or `reset`, in the same units and by the same measure.
    uint64_t work_done;
} pagelm_session_info;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The version of the library: compare its major with that of PAGELM_ABI_VERSION.
uint32_t pagelm_abi_version(void);

// A status in words: its constant's name, in small letters and without PAGELM_ERROR_ ("bad magic");
// "unknown" for a number that is no status. Ended by a zero byte, never NULL, never to be freed.
const char *pagelm_status_text(int32_t status);

// Reads a model file's header: what the model is, how long the file is, how much memory it needs.
// `bytes`: the file's first `len` bytes, any alignment. PAGELM_MORE: the header is longer than
// that and nothing is written; try again with more of the file. The weights are not looked at.
int32_t pagelm_model_probe(const uint8_t *bytes,
                           size_t len,
                           pagelm_model_info *info,
                           pagelm_error *error);

// Makes a model in `mem` (`model_mem_size` bytes of `pagelm_model_probe`) from a GGUF file in
// writable memory, whose weights it rearranges in place. `file_size` is the length of the whole
// file and of the memory at `file`; its first `available` bytes are there, the whole header among
// them. PAGELM_OK: the model is ready. PAGELM_MORE: `*model` is set; go on with
// `pagelm_model_advance`. After an error `file` may be rearranged in part: read it anew.
int32_t pagelm_model_init(void *mem,
                          size_t mem_size,
                          uint8_t *file,
                          size_t file_size,
                          size_t available,
                          pagelm_model **model,
                          pagelm_error *error);

// Goes on with a streamed load: the first `available` bytes of the file are there now. PAGELM_MORE
// until the file is whole, then PAGELM_OK: the model is ready. After an error of the file the
// model is dead.
int32_t pagelm_model_advance(pagelm_model *model, size_t available, pagelm_error *error);

// Makes a model in `mem` from a packed file (docs/FORMAT.md), which may lie in read-only memory:
// nothing is copied or changed. The whole file must be there.
int32_t pagelm_model_init_packed(void *mem,
                                 size_t mem_size,
                                 const uint8_t *file,
                                 size_t file_size,
                                 pagelm_model **model,
                                 pagelm_error *error);

// What `pagelm_model_probe` tells, of a model that is ready.
int32_t pagelm_model_get_info(const pagelm_model *model, pagelm_model_info *info);

// Bytes of memory that `pagelm_session_init` will need, told from the model file's first `len`
// bytes, before anything is loaded. `params` may be NULL: all defaults. PAGELM_MORE: the header is
// longer than that.
int32_t pagelm_session_probe(const uint8_t *bytes,
                             size_t len,
                             const pagelm_session_params *params,
                             size_t *size,
                             pagelm_error *error);

// Bytes of memory that `pagelm_session_init` needs for these parameters. `params` may be NULL: all
// defaults.
int32_t pagelm_session_mem_size(const pagelm_model *model,
                                const pagelm_session_params *params,
                                size_t *size);

// Makes a session in `mem`, with an empty context and greedy sampling. `params` may be NULL: all
// defaults.
int32_t pagelm_session_init(void *mem,
                            size_t mem_size,
                            const pagelm_model *model,
                            const pagelm_session_params *params,
                            pagelm_session **session,
                            pagelm_error *error);

// Empties context and queue and sets the generator to its seed again; sampling settings, biases
// and stops stay.
int32_t pagelm_session_reset(pagelm_session *session);

// The last failure of a call that takes the session without const; code PAGELM_OK and an empty
// text if there was none since `init` or `reset`.
int32_t pagelm_session_last_error(const pagelm_session *session, pagelm_error *error);

// Sets how tokens are chosen from here on, and sets the generator to the seed. NULL: greedy.
int32_t pagelm_session_set_sampling(pagelm_session *session, const pagelm_sampling *sampling);

// Adds `bias[i]` to the logit of `ids[i]` from here on; replaces what was set before. At most 256
// of them; n 0: none. They are finite numbers; -1e9 forbids a token.
int32_t pagelm_session_set_logit_bias(pagelm_session *session,
                                      const uint32_t *ids,
                                      const float *bias,
                                      size_t n);

// Adds a stop string: the text ends before it. At most 8 of them, 512 bytes together.
int32_t pagelm_session_add_stop(pagelm_session *session, const uint8_t *text, size_t len);

// Adds a token that ends the text, besides the model's own. At most 16 of them.
int32_t pagelm_session_add_stop_token(pagelm_session *session, uint32_t id);

// Forgets all stop strings and stop tokens that were added.
int32_t pagelm_session_clear_stops(pagelm_session *session);

// Queues a text, at most `max_text` bytes; nothing is computed yet. `flags`: PAGELM_PARSE_SPECIAL
// or 0; without it nothing in a text can spell a special token. Feeding goes on after a finish.
int32_t pagelm_session_feed_text(pagelm_session *session,
                                 const uint8_t *text,
                                 size_t len,
                                 uint32_t flags);

// Queues token ids; all of them or, after an error, none.
int32_t pagelm_session_feed_ids(pagelm_session *session, const uint32_t *ids, size_t n);

// Works through the queue. PAGELM_OK: the logits are there. PAGELM_MORE: the budget is used up, or
// (with PAGELM_ALL_LOGITS) the logits of one batch are there and more tokens wait; call again.
// `budget`: units of 65,536 multiply-adds; 0: no limit. It never changes a result.
int32_t pagelm_session_eval(pagelm_session *session, uint32_t budget);

// Works through the queue, then chooses a token and queues it. PAGELM_TOKEN: `pagelm_session_token`
// has it, `pagelm_session_text` the text. PAGELM_MORE: the budget is used up; call again.
// PAGELM_FINISHED: `pagelm_session_text` has the rest of the text, `finish` of
// `pagelm_session_info` the reason. `budget` as in `pagelm_session_eval`. With nothing fed, the
// text begins with the model's bos token.
int32_t pagelm_session_run(pagelm_session *session, uint32_t budget);

// For a loop of your own, once `pagelm_session_eval` is done: chooses a token and queues it, as
// `run` does, and writes it to `*id`. PAGELM_TOKEN, or PAGELM_FINISHED as from `run`.
int32_t pagelm_session_sample(pagelm_session *session, uint32_t *id);

// In place of `pagelm_session_sample`: queues a token that you chose. It counts as generated, for
// the penalties, the stop strings and the text. PAGELM_TOKEN, or PAGELM_FINISHED if a stop string
// is complete.
int32_t pagelm_session_accept(pagelm_session *session, uint32_t id);

// The last generated token. PAGELM_ERROR_NO_LOGITS if there is none yet.
int32_t pagelm_session_token(const pagelm_session *session, uint32_t *id);

// The text that the last `run` or `accept` released: `*len` bytes at `*text`, in the session, until
// the next call that changes it. What may be the beginning of a stop string is held back.
int32_t pagelm_session_text(const pagelm_session *session, const uint8_t **text, size_t *len);

// For a caller that takes no further token: releases the text that is held back as the possible
// beginning of a stop string. `pagelm_session_text` has it.
int32_t pagelm_session_finish(pagelm_session *session);

// The `n` likeliest next tokens, likeliest first, with the logarithms of their probabilities in the
// model's own distribution, before any sampling stage. `n` at most n_vocab.
int32_t pagelm_session_top_logprobs(const pagelm_session *session,
                                    uint32_t *ids,
                                    float *logprobs,
                                    size_t n);

// Where the session stands.
int32_t pagelm_session_get_info(const pagelm_session *session, pagelm_session_info *info);

// Bytes that `pagelm_session_snapshot` would write now: they grow with the text.
int32_t pagelm_session_snapshot_size(const pagelm_session *session, size_t *size);

// Copies what the session remembers to `out`, which has room for `cap` bytes; `*n` becomes their
// number. The copy may be kept, moved and restored later, also by another program. The session
// goes on as if nothing had happened; of several rows of logits it keeps the last.
int32_t pagelm_session_snapshot(pagelm_session *session, void *out, size_t cap, size_t *n);

// Puts a session back to where a snapshot was taken, of a session of the same model and n_ctx. A
// snapshot that does not fit is an error and leaves the session as it was.
int32_t pagelm_session_restore(pagelm_session *session, const void *bytes, size_t n);

// Bytes of working memory that `pagelm_model_tokenize` needs for a text of `text_len` bytes.
size_t pagelm_tokenize_work_size(size_t text_len);

// Turns a text into token ids. `work`: `pagelm_tokenize_work_size(len)` bytes at a multiple of 4,
// free again afterwards. `flags`: PAGELM_PARSE_SPECIAL or 0. `ids` has room for `cap` of them,
// `*n` becomes their number. With `ids` NULL and `cap` 0 they are only counted.
int32_t pagelm_model_tokenize(const pagelm_model *model,
                              const uint8_t *text,
                              size_t len,
                              uint32_t flags,
                              void *work,
                              size_t work_size,
                              uint32_t *ids,
                              size_t cap,
                              size_t *n);

// Turns token ids into text. `text` has room for `cap` bytes, `*len` becomes their number. With
// `text` NULL and `cap` 0 they are only counted. Control tokens have no text.
int32_t pagelm_model_detokenize(const pagelm_model *model,
                                const uint32_t *ids,
                                size_t n,
                                uint8_t *text,
                                size_t cap,
                                size_t *len);

// The raw logits: `*n` = n_vocab numbers at `*logits`, in the session, until the next call that
// changes it. `row` is 0; with PAGELM_ALL_LOGITS it counts the tokens of the last batch. A row that
// is not there is PAGELM_ERROR_NO_LOGITS.
int32_t pagelm_session_logits(const pagelm_session *session,
                              size_t row,
                              const float **logits,
                              size_t *n);

// One vector for what was worked through since `init` or `reset` (behind a slide, for what is in
// the context): `*n` = n_hidden numbers of `pagelm_model_info` at `*embedding`, in the session,
// until the next call that changes it. `pooling`: PAGELM_POOL_MEAN or PAGELM_POOL_LAST, of the last
// layer's outputs; of a GPT-2 behind the last norm, of a recurrent network what its dense layers
// take. Feed, call `pagelm_session_eval` until it is done, then ask. PAGELM_ERROR_UNSUPPORTED
// without PAGELM_EMBEDDING in the session's `flags`, PAGELM_ERROR_NO_LOGITS while there is none.
int32_t pagelm_session_embedding(const pagelm_session *session,
                                 uint32_t pooling,
                                 const float **embedding,
                                 size_t *n);

// How much each position counted for the last token that was worked through: `*n` numbers at
// `*weights` that add up to 1, of one head of a layer, both counted from 0, in the session, until
// the next call that changes it. PAGELM_ERROR_UNSUPPORTED without PAGELM_ATTENTION in the session's
// `flags` and for a recurrent network; PAGELM_ERROR_NO_LOGITS at the beginning, while `eval` or
// `run` is not done, and after `pagelm_session_restore`.
int32_t pagelm_session_attention(const pagelm_session *session,
                                 uint32_t layer,
                                 uint32_t head,
                                 const float **weights,
                                 size_t *n);

// Runs a recurrent network over vectors: `n_values` numbers at `input`, a multiple of n_input of
// `pagelm_model_info`, one step after the other. `*n` becomes the count of numbers written to
// `out`: n_output, for the last step. `flags`: PAGELM_STATEFUL, go on from the state that the call
// before left, or that was written, else from the beginning; PAGELM_EVERY_STEP, the outputs of each
// step. One call over many steps and many stateful calls give the same bits. After an error what
// `out` holds means nothing.
int32_t pagelm_session_predict(pagelm_session *session,
                               const float *input,
                               size_t n_values,
                               uint32_t flags,
                               float *out,
                               size_t cap,
                               size_t *n);

// As `pagelm_session_predict`, for a model that takes tokens (n_input 0).
int32_t pagelm_session_predict_ids(pagelm_session *session,
                                   const uint32_t *ids,
                                   size_t n_ids,
                                   uint32_t flags,
                                   float *out,
                                   size_t cap,
                                   size_t *n);

// Copies the state of a recurrent network: n_state numbers of `pagelm_model_info`, layer by layer,
// of each the forward, then the backward direction, of each h, then (LSTM) c.
int32_t pagelm_session_read_state(const pagelm_session *session, float *out, size_t cap, size_t *n);

// Sets the state to go on from: `n` = n_state finite numbers, as `pagelm_session_read_state` gives
// them, of this model or of another one with layers of the same sizes, as an encoder's for its
// decoder.
int32_t pagelm_session_write_state(pagelm_session *session, const float *state, size_t n);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* PAGELM_H */
