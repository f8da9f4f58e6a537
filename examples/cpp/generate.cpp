// generate: text from a model file, in C++17 on pagelm.h.
//
//   generate MODEL PROMPT [TOKENS] [TEMPERATURE] [SEED] [--hash]
//   generate MODEL --ids 1,2,3 [TOKENS] [TEMPERATURE] [SEED] [--hash]
//
// Text goes to standard output as it comes. With --ids the model is fed token ids; if it has no
// tokenizer, ids come out as well. With --hash the last line is the FNV-1a hash of the token ids.
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "pagelm.h"

namespace {

constexpr const char *usage =
    "usage: generate MODEL PROMPT [TOKENS] [TEMPERATURE] [SEED] [--hash]\n"
    "       generate MODEL --ids 1,2,3 [TOKENS] [TEMPERATURE] [SEED] [--hash]\n";

struct UsageError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct Options {
    std::string model;
    std::string prompt;
    std::optional<std::vector<std::uint32_t>> ids;
    std::uint32_t tokens = 64;
    float temperature = 0;
    std::uint64_t seed = 0;
    bool hash = false;
};

// An empty structure that states its own size.
template <class T> T sized()
{
    T value{};
    value.struct_size = sizeof value;
    return value;
}

[[noreturn]] void fail(const std::string &what, const std::string &why)
{
    throw std::runtime_error(what + ": " + why);
}

// Passes a status of 0 or more on; throws for an error.
std::int32_t check(std::int32_t status, const std::string &what, const pagelm_error *error = nullptr)
{
    if (status < 0)
        fail(what, error != nullptr && error->code == status ? error->text : pagelm_status_text(status));
    return status;
}

template <class T> T number(std::string_view text)
{
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size())
        throw UsageError("not a number in range: " + std::string(text));
    return value;
}

std::vector<std::uint32_t> number_list(std::string_view text)
{
    std::vector<std::uint32_t> list;
    for (std::size_t comma = 0; comma != std::string_view::npos;) {
        comma = text.find(',');
        list.push_back(number<std::uint32_t>(text.substr(0, comma)));
        text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
    }
    return list;
}

Options read_options(const std::vector<std::string> &args)
{
    Options o;
    std::vector<std::string> plain;
    for (std::size_t i = 0; i < args.size(); i++) {
        if (args[i] == "--hash")
            o.hash = true;
        else if (args[i] == "--ids" && plain.size() == 1 && i + 1 < args.size())
            o.ids = number_list(args[++i]);
        else
            plain.push_back(args[i]);
    }
    const std::size_t first = o.ids ? 1 : 2;
    if (plain.size() < first || plain.size() > first + 3)
        throw UsageError("MODEL and PROMPT are needed");
    o.model = plain[0];
    if (!o.ids)
        o.prompt = plain[1];
    if (plain.size() > first)
        o.tokens = number<std::uint32_t>(plain[first]);
    if (plain.size() > first + 1)
        o.temperature = number<float>(plain[first + 1]);
    if (plain.size() > first + 2)
        o.seed = number<std::uint64_t>(plain[first + 2]);
    return o;
}

std::vector<std::byte> read_file(const std::string &path)
{
    // Throws, with its reason, for a path that is not a file.
    std::vector<std::byte> bytes(static_cast<std::size_t>(std::filesystem::file_size(path)));
    std::ifstream file(path, std::ios::binary);
    if (!file.read(reinterpret_cast<char *>(bytes.data()), static_cast<std::streamsize>(bytes.size())))
        fail(path, "cannot read the file");
    return bytes;
}

// A model with the memory it lives in. Not to be copied: the model points into it.
class Model {
public:
    explicit Model(const std::string &path) : file_(read_file(path))
    {
        auto error = sized<pagelm_error>();
        auto *bytes = reinterpret_cast<std::uint8_t *>(file_.data());
        auto info = sized<pagelm_model_info>();
        if (check(pagelm_model_probe(bytes, file_.size(), &info, &error), path, &error) == PAGELM_MORE)
            fail(path, "the file is cut short: it ends before its header does");
        memory_.resize(static_cast<std::size_t>(info.model_mem_size));
        check(pagelm_model_init(memory_.data(), memory_.size(), bytes, file_.size(), file_.size(), &model_, &error),
              path, &error);
    }
    Model(const Model &) = delete;
    Model &operator=(const Model &) = delete;

    const pagelm_model *get() const { return model_; }

    pagelm_model_info info() const
    {
        auto info = sized<pagelm_model_info>();
        check(pagelm_model_get_info(model_, &info), "model");
        return info;
    }

private:
    std::vector<std::byte> file_;
    std::vector<std::byte> memory_;
    pagelm_model *model_ = nullptr;
};

// A session with the memory it lives in.
class Session {
public:
    explicit Session(const Model &model)
    {
        auto error = sized<pagelm_error>();
        std::size_t size = 0;
        check(pagelm_session_mem_size(model.get(), nullptr, &size), "session");
        memory_.resize(size);
        check(pagelm_session_init(memory_.data(), size, model.get(), nullptr, &session_, &error), "session", &error);
    }
    Session(const Session &) = delete;
    Session &operator=(const Session &) = delete;

    void sampling(float temperature, std::uint64_t seed)
    {
        auto sampling = sized<pagelm_sampling>();
        sampling.temperature = temperature;
        sampling.seed = seed;
        done(pagelm_session_set_sampling(session_, &sampling), "sampling");
    }
    void feed(std::string_view text)
    {
        const auto *bytes = reinterpret_cast<const std::uint8_t *>(text.data());
        done(pagelm_session_feed_text(session_, bytes, text.size(), 0), "prompt");
    }
    void feed(const std::vector<std::uint32_t> &ids)
    {
        done(pagelm_session_feed_ids(session_, ids.data(), ids.size()), "prompt");
    }
    // The next token, or nothing once the text is finished.
    std::optional<std::uint32_t> next()
    {
        std::uint32_t id = 0;
        if (done(pagelm_session_run(session_, 0), "generate") != PAGELM_TOKEN)
            return std::nullopt;
        done(pagelm_session_token(session_, &id), "generate");
        return id;
    }
    std::string_view text() const
    {
        const std::uint8_t *text = nullptr;
        std::size_t len = 0;
        done(pagelm_session_text(session_, &text, &len), "text");
        return {reinterpret_cast<const char *>(text), len};
    }

private:
    std::int32_t done(std::int32_t status, const char *what) const
    {
        auto error = sized<pagelm_error>();
        const bool known = status < 0 && pagelm_session_last_error(session_, &error) == PAGELM_OK;
        return check(status, what, known ? &error : nullptr);
    }

    std::vector<std::byte> memory_;
    pagelm_session *session_ = nullptr;
};

std::uint64_t hash_id(std::uint64_t hash, std::uint32_t id)
{
    for (int i = 0; i < 4; i++)
        hash = (hash ^ (id >> (8 * i) & 0xff)) * 0x100000001b3u;
    return hash;
}

void generate(const Options &o)
{
    const Model model(o.model);
    Session session(model);
    const bool has_text = model.info().tokenizer != PAGELM_TOKENIZER_NONE;
    session.sampling(o.temperature, o.seed);
    if (o.ids)
        session.feed(*o.ids);
    else
        session.feed(o.prompt);
    std::uint64_t hash = 0xcbf29ce484222325u;
    for (std::uint32_t i = 0; i < o.tokens; i++) {
        const auto id = session.next();
        if (id)
            hash = hash_id(hash, *id);
        if (has_text || !id)
            std::cout << session.text() << std::flush;
        else
            std::cout << *id << ' ' << std::flush;
        if (!id)
            break;
    }
    std::cout << '\n';
    if (o.hash)
        std::cout << std::hex << std::setw(16) << std::setfill('0') << hash << '\n';
}

} // namespace

int main(int argc, char **argv)
{
    try {
        generate(read_options({argv + 1, argv + argc}));
        return 0;
    } catch (const UsageError &error) {
        std::cerr << "generate: " << error.what() << '\n' << usage;
        return 2;
    } catch (const std::exception &error) {
        std::cerr << "generate: " << error.what() << '\n';
        return 1;
    }
}
