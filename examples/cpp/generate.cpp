// generate: text from a model file, in C++17 on pagelm.hpp.
//
//   generate MODEL PROMPT [TOKENS] [TEMPERATURE] [SEED] [--hash]
//   generate MODEL --ids 1,2,3 [TOKENS] [TEMPERATURE] [SEED] [--hash]
//
// Text goes to standard output as it comes. With --ids the model is fed token ids; if it has no
// tokenizer, ids come out as well. With --hash the last line is the FNV-1a hash of the token ids.
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <iomanip>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "pagelm.hpp"

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

template <class T> T number(std::string_view text)
{
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size())
        throw UsageError("not a number in range: " + std::string(text));
    return value;
}

// Not every standard library has from_chars for these yet.
float fraction(const std::string &text)
{
    char *end = nullptr;
    const float value = std::strtof(text.c_str(), &end);
    if (end == text.c_str() || *end != '\0')
        throw UsageError("not a number: " + text);
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
        o.temperature = fraction(plain[first + 1]);
    if (plain.size() > first + 2)
        o.seed = number<std::uint64_t>(plain[first + 2]);
    return o;
}

std::uint64_t hash_id(std::uint64_t hash, std::uint32_t id)
{
    for (int i = 0; i < 4; i++)
        hash = (hash ^ (id >> (8 * i) & 0xff)) * 0x100000001b3u;
    return hash;
}

void generate(const Options &o)
{
    const pagelm::Model model = pagelm::Model::load(o.model);
    const bool has_text = model.info().tokenizer != PAGELM_TOKENIZER_NONE;
    pagelm::Session session = model.session();
    pagelm::Sampling sampling;
    sampling.temperature = o.temperature;
    sampling.seed = o.seed;
    session.set_sampling(sampling);
    if (o.ids)
        session.feed_ids(*o.ids);
    else
        session.feed(o.prompt);
    std::uint64_t hash = 0xcbf29ce484222325u;
    for (const pagelm::Piece piece : session.generate(o.tokens)) {
        if (piece.token != pagelm::no_token)
            hash = hash_id(hash, piece.token);
        if (has_text)
            std::cout << piece.text << std::flush;
        else
            std::cout << piece.token << ' ' << std::flush;
    }
    std::cout << '\n';
    if (o.hash)
        std::cout << std::hex << std::setw(16) << std::setfill('0') << hash << '\n';
}

// Runs the program; a failure of the model is told with its file's name.
void run(const Options &o)
{
    try {
        generate(o);
    } catch (const pagelm::Error &error) {
        throw std::runtime_error(o.model + ": " + error.what());
    }
}

} // namespace

int main(int argc, char **argv)
{
    try {
        run(read_options({argv + 1, argv + argc}));
        return 0;
    } catch (const UsageError &error) {
        std::cerr << "generate: " << error.what() << '\n' << usage;
        return 2;
    } catch (const std::exception &error) {
        std::cerr << "generate: " << error.what() << '\n';
        return 1;
    }
}
