// The engine behind index.html: C++ on pagelm.hpp, without exceptions, called from page.mjs.
//
// Numbers go through C functions. Bytes and long texts do not fit on the stack that strings would
// take: the page puts them at `Module.part`, and this program copies them into its own memory.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include <emscripten.h>

#include "pagelm.hpp"

EM_JS(void, copy_part, (void *to), { HEAPU8.set(Module.part, to); });

namespace {

std::optional<pagelm::Loader> loader;
std::optional<pagelm::Model> model;
std::optional<pagelm::Session> session;
pagelm::Characters characters;
std::uint32_t tokens_left;
std::uint64_t hash;
std::string text;

// What every function answers after a failure; `answer` then has the reason.
constexpr int failed = -1;

int fail(const pagelm::Error &error)
{
    text = error.what();
    return failed;
}

std::string_view released()
{
    const pagelm::Result<std::string_view> bytes = session->text();
    return bytes ? *bytes : std::string_view();
}

// FNV-1a over the token ids, as the other example programs print it.
void add_to_hash(std::uint32_t id)
{
    for (int i = 0; i < 4; i++)
        hash = (hash ^ (id >> (8 * i) & 0xff)) * 0x100000001b3u;
}

int end_text()
{
    if (const auto done = session->finish(); !done)
        return fail(done.error());
    text = characters.end(released());
    return PAGELM_FINISHED;
}

} // namespace

extern "C" {

// The text that the last call of `step` gave, or why the last call failed.
EMSCRIPTEN_KEEPALIVE const char *answer() { return text.c_str(); }

// The hash of the tokens so far, 16 digits.
EMSCRIPTEN_KEEPALIVE const char *token_hash()
{
    static char digits[17];
    std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(hash));
    return digits;
}

// Forgets the model, and begins to take in another.
EMSCRIPTEN_KEEPALIVE void load_begin()
{
    session.reset();
    model.reset();
    loader.emplace();
}

// Takes in `Module.part`, of n bytes.
EMSCRIPTEN_KEEPALIVE int load_part(std::size_t n)
{
    std::vector<std::byte> bytes(n);
    copy_part(bytes.data());
    const auto done = loader->append(bytes);
    return done ? 0 : fail(done.error());
}

// Bytes of the whole file, 0 as long as that is not known.
EMSCRIPTEN_KEEPALIVE double load_size()
{
    return loader && loader->info() != nullptr ? static_cast<double>(loader->info()->file_size) : 0;
}

// All parts have been given.
EMSCRIPTEN_KEEPALIVE int load_end()
{
    pagelm::Result<pagelm::Model> loaded = loader->finish();
    loader.reset();
    if (!loaded)
        return fail(loaded.error());
    model.emplace(*std::move(loaded));
    pagelm::Result<pagelm::Session> made = model->session();
    if (!made)
        return fail(made.error());
    session.emplace(*std::move(made));
    return 0;
}

// A new text, from the prompt at `Module.part`, of n bytes.
EMSCRIPTEN_KEEPALIVE int begin(std::size_t n, std::uint32_t max_tokens, float temperature, std::uint32_t seed)
{
    std::string prompt(n, '\0');
    copy_part(prompt.data());
    if (!session)
        return fail({PAGELM_ERROR_NOT_LOADED, "no model is loaded"});
    pagelm::Sampling sampling;
    sampling.temperature = temperature;
    sampling.seed = seed;
    if (const auto done = session->reset(); !done)
        return fail(done.error());
    if (const auto done = session->set_sampling(sampling); !done)
        return fail(done.error());
    if (const auto done = session->feed(prompt); !done)
        return fail(done.error());
    characters = {};
    tokens_left = max_tokens;
    hash = 0xcbf29ce484222325u;
    return 0;
}

// Works for a while: about `budget` units of 65,536 multiply-adds. PAGELM_TOKEN: `answer` has what the
// text grew by. PAGELM_MORE: call again. PAGELM_FINISHED: `answer` has the text's end.
EMSCRIPTEN_KEEPALIVE int step(std::uint32_t budget)
{
    if (tokens_left == 0)
        return end_text();
    const pagelm::Result<std::int32_t> status = session->run(budget);
    if (!status)
        return fail(status.error());
    if (*status == PAGELM_FINISHED)
        text = characters.end(released());
    if (*status != PAGELM_TOKEN)
        return *status;
    tokens_left--;
    if (const auto id = session->token())
        add_to_hash(*id);
    text = characters.add(released());
    return PAGELM_TOKEN;
}

} // extern "C"
