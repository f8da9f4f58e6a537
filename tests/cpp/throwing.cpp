// Tests of pagelm.hpp with exceptions:  throwing MODELS/
// The last line says how many tests passed; the first failure ends the program with status 1.
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "check.hpp"
#include "pagelm.hpp"

#if __cplusplus >= 202002L
#include <ranges>
static_assert(std::ranges::input_range<pagelm::Generation>);
#endif

namespace {

static_assert(!std::is_copy_constructible_v<pagelm::Model> && std::is_nothrow_move_constructible_v<pagelm::Model>);
static_assert(!std::is_copy_constructible_v<pagelm::Session> && std::is_nothrow_move_constructible_v<pagelm::Session>);
static_assert(std::is_nothrow_copy_constructible_v<pagelm::Error>);
static_assert(std::is_same_v<pagelm::Result<int>, int>);

const char *const bytes_model = "gpt2-basic-bytes.gguf";
const char *const prompt = "The ";

pagelm::Model load(const char *name) { return pagelm::Model::load(models + name); }

template <class Call> pagelm::Error failure(const Call &call)
{
    try {
        call();
    } catch (const pagelm::Error &error) {
        return error;
    }
    return {PAGELM_OK, "it did not fail"};
}

struct Text {
    std::string text;
    std::vector<std::uint32_t> ids;
    bool operator==(const Text &other) const { return text == other.text && ids == other.ids; }
};

Text collect(pagelm::Generation generation)
{
    Text all;
    for (const pagelm::Piece piece : generation) {
        all.text += piece.text;
        if (piece.token != pagelm::no_token)
            all.ids.push_back(piece.token);
    }
    return all;
}

pagelm::Sampling wild()
{
    pagelm::Sampling sampling;
    sampling.temperature = 0.8f;
    sampling.seed = 42;
    return sampling;
}

// Each loop gives the same tokens and the same bytes.
void loops_agree()
{
    const pagelm::Model model = load(bytes_model);
    pagelm::Session one = model.session();
    one.set_sampling(wild());
    const Text want = collect(one.generate(prompt, 48));
    CHECK(want.ids.size() == 48);
    CHECK(want.text == model.detokenize(want.ids));

    pagelm::Session other = model.session();
    other.set_sampling(wild());
    other.feed(prompt);
    Text by_run;
    while (by_run.ids.size() < 48) {
        const std::int32_t status = other.run(1);
        CHECK(status == PAGELM_TOKEN || status == PAGELM_MORE);
        if (status == PAGELM_TOKEN) {
            by_run.ids.push_back(other.token());
            by_run.text += other.text();
        }
    }
    CHECK(by_run == want);

    other.reset();
    other.feed_ids(model.tokenize(prompt));
    Text by_parts;
    while (by_parts.ids.size() < 48) {
        while (other.eval(2) == PAGELM_MORE) {
        }
        CHECK(other.sample() == PAGELM_TOKEN);
        by_parts.ids.push_back(other.token());
        by_parts.text += other.text();
    }
    CHECK(by_parts.ids == want.ids);
    CHECK(by_parts.text == want.text);
}

// A text goes on where it ended, also after a loop that was left.
void a_text_goes_on()
{
    const pagelm::Model model = load(bytes_model);
    pagelm::Session session = model.session();
    const Text whole = collect(session.generate(prompt, 30));
    session.reset();
    const Text first = collect(session.generate(prompt, 12));
    const Text second = collect(session.generate(18));
    CHECK(first.text + second.text == whole.text);
    session.reset();
    std::string text;
    for (const pagelm::Piece piece : session.generate(prompt, 30)) {
        text += piece.text;
        if (session.info().n_generated == 5)
            break;
    }
    text += collect(session.generate(25)).text;
    CHECK(text == whole.text);
    CHECK(collect(session.generate(0)).text.empty());
}

// Forces each token by a bias, so that the text is known: the pieces hold whole characters.
void pieces_are_whole_characters()
{
    const pagelm::Model model = load(bytes_model);
    pagelm::Session session = model.session();
    const std::string wanted = "a\xe2\x82\xac\xf0\x9f\x98\x80z\xc3";
    const std::vector<std::string> pieces = {"a", "", "", "\xe2\x82\xac", "", "", "", "\xf0\x9f\x98\x80", "z", ""};
    const auto force = [&](std::size_t i) {
        const std::uint32_t id = model.tokenize(wanted.substr(i, 1)).at(0);
        session.set_logit_bias({id}, {1e6f});
    };
    force(0);
    std::size_t i = 0;
    std::string text;
    for (const pagelm::Piece piece : session.generate(prompt, static_cast<std::uint32_t>(wanted.size()))) {
        text += piece.text;
        if (piece.token == pagelm::no_token) {
            CHECK(piece.text == "\xc3"); // cut short by the number of tokens
            continue;
        }
        CHECK(piece.text == pieces.at(i));
        if (++i < wanted.size())
            force(i);
    }
    CHECK(text == wanted);
}

void unfinished_characters_are_seen()
{
    using pagelm::detail::unfinished;
    CHECK(unfinished("") == 0 && unfinished("abc") == 0 && unfinished("\xc3\xa9") == 0);
    CHECK(unfinished("a\xc3") == 1 && unfinished("a\xe2\x82") == 2 && unfinished("\xf0\x9f\x98") == 3);
    CHECK(unfinished("\xf0\x9f\x98\x80") == 0 && unfinished("\xe2") == 1 && unfinished("\xf0\x9f") == 2);
    // No beginnings of characters: they are not waited for.
    CHECK(unfinished("\xff") == 0 && unfinished("\xc0") == 0 && unfinished("\xf5") == 0);
    CHECK(unfinished("\x80\x80\x80\x80") == 0);
}

void stop_strings_end_before_themselves()
{
    const pagelm::Model model = load("gpt2-basic-lexicon.gguf");
    pagelm::Session session = model.session();
    const std::string whole = collect(session.generate(prompt, 64)).text;
    const std::string stop = whole.substr(20, 6);
    session.reset();
    session.add_stop(stop);
    CHECK(collect(session.generate(prompt, 64)).text == whole.substr(0, whole.find(stop)));
    CHECK(session.info().finish == PAGELM_FINISH_STOP_STRING);
    // Held back as its beginning, and released when no more tokens come.
    session.reset();
    session.clear_stops();
    session.add_stop(whole.substr(whole.size() - 8) + "\x01");
    CHECK(collect(session.generate(prompt, 64)).text == whole);
}

void a_loader_takes_bytes_as_they_come()
{
    const std::vector<std::byte> file = read_file("names.gguf");
    pagelm::Loader loader;
    CHECK(loader.info() == nullptr && loader.received() == 0);
    for (const std::byte &byte : file)
        loader.append({&byte, 1});
    loader.append(file); // what follows the model is left out
    // A file may have padding after its last tensor.
    CHECK(loader.info() != nullptr && loader.info()->file_size <= file.size());
    CHECK(loader.received() == loader.info()->file_size);
    const pagelm::Model slow = loader.finish();
    const pagelm::Model fast = load("names.gguf");
    pagelm::Session a = slow.session();
    pagelm::Session b = fast.session();
    CHECK(collect(a.generate("an", 20)) == collect(b.generate("an", 20)));
    CHECK(std::string_view(slow.info().arch) == fast.info().arch);
}

void cut_files_are_refused_at_every_length()
{
    const std::vector<std::byte> file = read_file("denoise.gguf");
    const std::uint64_t size = pagelm::Model::from_bytes(file).info().file_size;
    for (std::size_t n = 0; n < size; n++) {
        const pagelm::Error error = failure([&] { pagelm::Model::from_bytes({file.data(), n}); });
        CHECK(error.code() == PAGELM_ERROR_TRUNCATED);
        CHECK(std::strstr(error.what(), std::to_string(n).c_str()) != nullptr);
    }
}

void bad_files_say_what_is_wrong()
{
    std::vector<std::byte> file = read_file("denoise.gguf");
    CHECK(failure([] { load("no-such-file.gguf"); }).code() == pagelm::error_file);
    CHECK(failure([] { load(""); }).code() == pagelm::error_file);
    const pagelm::Error error = failure([] { load("README.md"); });
    CHECK(error.code() == PAGELM_ERROR_BAD_MAGIC);
    CHECK(std::strstr(error.what(), "GGUF") != nullptr);
    file[4] = std::byte{99};
    pagelm::Loader loader;
    const pagelm::Error version = failure([&] {
        loader.append(file);
        loader.finish();
    });
    CHECK(version.code() == PAGELM_ERROR_BAD_VERSION);
    CHECK(std::strstr(version.what(), "99") != nullptr);
    // It stays so, whatever comes.
    CHECK(failure([&] { loader.append(file); }).code() == PAGELM_ERROR_BAD_VERSION);
    CHECK(failure([&] { loader.finish(); }).code() == PAGELM_ERROR_BAD_VERSION);
    // Long texts are cut and end.
    const pagelm::Error cut(1, std::string(1000, 'x'));
    CHECK(std::strlen(cut.what()) == sizeof(pagelm_error::text) - 1);
}

void bad_calls_say_what_is_wrong()
{
    const pagelm::Model model = load(bytes_model);
    pagelm::Session session = model.session();
    CHECK(failure([&] { session.token(); }).code() == PAGELM_ERROR_NO_LOGITS);
    CHECK(failure([&] { session.feed_ids({1u << 30}); }).code() == PAGELM_ERROR_BAD_TOKEN);
    CHECK(failure([&] { session.predict(std::array<float, 1>{1}); }).code() < 0);
    CHECK(failure([&] { session.set_logit_bias({1, 2}, {1.0f}); }).code() == PAGELM_ERROR_BAD_PARAM);
    CHECK(failure([&] { session.generate(std::string(100000, 'a'), 1); }).code() == PAGELM_ERROR_TEXT_TOO_LONG);
    pagelm::SessionParams params;
    params.n_ctx = 1u << 30;
    CHECK(failure([&] { model.session(params); }).code() < 0);
    pagelm::Sampling sampling;
    sampling.top_p = 7;
    const pagelm::Error error = failure([&] { session.set_sampling(sampling); });
    CHECK(error.code() == PAGELM_ERROR_BAD_PARAM && std::strstr(error.what(), "top_p") != nullptr);
    const pagelm::Model names = load("names.gguf");
    pagelm::Session name = names.session();
    const pagelm::Error where = failure([&] { name.feed("an\xc3\xa9"); });
    CHECK(where.code() == PAGELM_ERROR_UNENCODABLE && where.offset() == 2);
    // An error within a loop is thrown by its step: here, of a model that names nothing to begin with.
    const pagelm::Model filter = load("denoise.gguf");
    pagelm::Session vectors = filter.session();
    CHECK(failure([&] { collect(vectors.generate(1)); }).code() < 0);
}

void objects_can_be_moved()
{
    std::optional<pagelm::Model> first = load(bytes_model);
    pagelm::Session session = first->session();
    const Text want = collect(session.generate(prompt, 20));
    session.reset();
    const pagelm::Model second = std::move(*first);
    first.reset();
    pagelm::Generation generation = session.generate(prompt, 20);
    std::vector<pagelm::Session> sessions;
    sessions.push_back(std::move(session));
    sessions.push_back(second.session());
    CHECK(collect(std::move(generation)) == want);
    CHECK(collect(sessions[1].generate(prompt, 20)) == want);
    // A range in the middle of its text, too.
    sessions[0].reset();
    pagelm::Generation begun = sessions[0].generate(prompt, 20);
    begun.begin();
    CHECK(collect(std::move(begun)) == want);
}

void snapshots_travel()
{
    const pagelm::Model model = load(bytes_model);
    pagelm::Session session = model.session();
    session.set_sampling(wild());
    collect(session.generate(prompt, 10));
    const std::vector<std::byte> snapshot = session.snapshot();
    const Text want = collect(session.generate(20));
    pagelm::Session other = model.session();
    other.set_sampling(wild());
    other.restore(snapshot);
    CHECK(collect(other.generate(20)) == want);
    std::vector<std::byte> bad = snapshot;
    bad.resize(bad.size() / 2);
    CHECK(failure([&] { other.restore(bad); }).code() == PAGELM_ERROR_BAD_SNAPSHOT);
}

void logits_and_probabilities()
{
    const pagelm::Model model = load(bytes_model);
    pagelm::Session session = model.session();
    session.feed(prompt);
    CHECK(session.eval() == PAGELM_OK);
    const pagelm::View<const float> logits = session.logits();
    CHECK(logits.size() == model.info().n_vocab);
    const std::vector<pagelm::Likely> top = session.top_logprobs(logits.size());
    double sum = 0;
    for (std::size_t i = 0; i < top.size(); i++) {
        CHECK(i == 0 || top[i].logprob <= top[i - 1].logprob);
        CHECK(logits[top[i].token] <= logits[top[0].token]);
        sum += std::exp(static_cast<double>(top[i].logprob));
    }
    CHECK(std::abs(sum - 1) < 1e-3);
    CHECK(session.sample() == PAGELM_TOKEN && session.token() == top[0].token);
    CHECK(session.accept(top[1].token) == PAGELM_TOKEN && session.token() == top[1].token);
    session.finish();
}

void texts_become_vectors()
{
    const pagelm::Model model = load(bytes_model);
    pagelm::SessionParams params;
    params.flags = PAGELM_EMBEDDING | PAGELM_ATTENTION;
    pagelm::Session session = model.session(params);
    CHECK(failure([&] { session.embedding(); }).code() == PAGELM_ERROR_NO_LOGITS);
    session.feed("Once upon a time");
    session.eval();
    const auto copy = [](pagelm::View<const float> view) { return std::vector<float>(view.begin(), view.end()); };
    const std::vector<float> mean = copy(session.embedding());
    CHECK(mean.size() == model.info().n_hidden && mean != copy(session.embedding(PAGELM_POOL_LAST)));
    double sum = 0;
    for (const float weight : session.attention(0, 0))
        sum += static_cast<double>(weight);
    CHECK(session.attention(0, 0).size() == session.info().n_past && std::abs(sum - 1) < 1e-3);
    session.reset();
    session.feed("Once upon a time");
    session.eval(1);
    while (session.eval(1) == PAGELM_MORE) {
    }
    CHECK(copy(session.embedding()) == mean);
    const pagelm::Session without = model.session();
    CHECK(failure([&] { without.embedding(); }).code() == PAGELM_ERROR_UNSUPPORTED);
}

void networks_are_functions()
{
    const pagelm::Model model = load("denoise.gguf");
    pagelm::Session session = model.session();
    std::vector<float> signal(200);
    for (std::size_t i = 0; i < signal.size(); i++)
        signal[i] = std::sin(0.1f * static_cast<float>(i));
    const std::vector<float> at_once = session.predict(signal, PAGELM_EVERY_STEP);
    CHECK(at_once.size() == signal.size());
    CHECK(session.predict(signal) == std::vector<float>{at_once.back()});
    // Sample by sample, handed over from one session to another in the middle.
    pagelm::Session other = model.session();
    session.predict(pagelm::View<const float>{signal.data(), 100});
    other.write_state(session.read_state());
    std::array<float, 1> out{};
    for (std::size_t i = 100; i < signal.size(); i++) {
        CHECK(other.predict({&signal[i], 1}, out, PAGELM_STATEFUL) == 1);
        CHECK(out[0] == at_once[i]);
    }
    const std::array<float, 0> nothing{};
    CHECK(failure([&] { session.write_state(nothing); }).code() == PAGELM_ERROR_BAD_INPUT);
}

void networks_of_tokens_are_functions()
{
    const pagelm::Model model = load("names.gguf");
    pagelm::Session session = model.session();
    const std::vector<std::uint32_t> ids = model.tokenize("anna");
    const std::vector<float> all = session.predict_ids(ids, PAGELM_EVERY_STEP);
    const std::vector<float> last = session.predict_ids(ids);
    const std::size_t n = model.info().n_output;
    CHECK(last.size() == n && all.size() == n * ids.size());
    CHECK(std::vector<float>(all.end() - static_cast<std::ptrdiff_t>(n), all.end()) == last);
}

// The file as loading leaves it, under the magic of packed files, which is what `pagelm pack` writes.
std::vector<std::uint64_t> packed_file(const std::vector<std::byte> &plain)
{
    std::vector<std::uint64_t> words((plain.size() + 7) / 8);
    auto *file = reinterpret_cast<std::uint8_t *>(words.data());
    std::memcpy(file, plain.data(), plain.size());
    pagelm::ModelInfo info;
    CHECK(pagelm_model_probe(file, plain.size(), &info, nullptr) == PAGELM_OK);
    std::vector<std::uint64_t> memory(static_cast<std::size_t>((info.model_mem_size + 7) / 8));
    pagelm_model *model = nullptr;
    const std::size_t size = plain.size();
    CHECK(pagelm_model_init(memory.data(), memory.size() * 8, file, size, size, &model, nullptr) == PAGELM_OK);
    std::memcpy(file, "PLM1", 4);
    return words;
}

void packed_files_stay_where_they_are()
{
    const std::vector<std::byte> plain = read_file(bytes_model);
    const std::vector<std::uint64_t> words = packed_file(plain);
    const pagelm::View<const std::byte> file(reinterpret_cast<const std::byte *>(words.data()), plain.size());
    const pagelm::Model there = pagelm::Model::from_packed(file);
    const pagelm::Model copied = pagelm::Model::from_bytes(file);
    const pagelm::Model usual = load(bytes_model);
    CHECK(there.info().packed == 1 && usual.info().packed == 0);
    pagelm::Session a = there.session();
    pagelm::Session b = copied.session();
    pagelm::Session c = usual.session();
    const Text want = collect(c.generate(prompt, 20));
    CHECK(collect(a.generate(prompt, 20)) == want);
    CHECK(collect(b.generate(prompt, 20)) == want);
    CHECK(failure([&] { pagelm::Model::from_packed({file.data(), 100}); }).code() == PAGELM_ERROR_TRUNCATED);
    const auto size = static_cast<std::size_t>(there.info().file_size);
    CHECK(failure([&] { pagelm::Model::from_packed({file.data(), size - 1}); }).code() == PAGELM_ERROR_TRUNCATED);
    CHECK(failure([&] { pagelm::Model::from_packed(plain); }).code() < 0);
}

void sessions_run_side_by_side()
{
    const pagelm::Model model = load(bytes_model);
    std::array<Text, 3> texts;
    std::vector<std::thread> threads;
    for (Text &text : texts)
        threads.emplace_back([&model, &text] {
            pagelm::Session session = model.session();
            text = collect(session.generate(prompt, 30));
        });
    for (std::thread &thread : threads)
        thread.join();
    CHECK(texts[0] == texts[1] && texts[1] == texts[2] && texts[0].ids.size() == 30);
}

struct Test {
    const char *name;
    void (*run)();
};

#define TEST(name) Test{#name, name}
const Test tests[] = {
    TEST(loops_agree),
    TEST(a_text_goes_on),
    TEST(pieces_are_whole_characters),
    TEST(unfinished_characters_are_seen),
    TEST(stop_strings_end_before_themselves),
    TEST(a_loader_takes_bytes_as_they_come),
    TEST(cut_files_are_refused_at_every_length),
    TEST(bad_files_say_what_is_wrong),
    TEST(bad_calls_say_what_is_wrong),
    TEST(objects_can_be_moved),
    TEST(snapshots_travel),
    TEST(logits_and_probabilities),
    TEST(texts_become_vectors),
    TEST(networks_are_functions),
    TEST(networks_of_tokens_are_functions),
    TEST(packed_files_stay_where_they_are),
    TEST(sessions_run_side_by_side),
};

} // namespace

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    models = argv[1];
    try {
        for (const Test &test : tests) {
            std::cerr << test.name << std::endl;
            test.run();
        }
    } catch (const pagelm::Error &error) {
        std::cerr << "not caught: " << error.code() << " " << error.what() << '\n';
        return 1;
    }
    std::cout << std::size(tests) << " passed\n";
}
