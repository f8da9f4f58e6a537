// Tests of pagelm.hpp without exceptions:  returning MODELS/
// Compiled with -fno-exceptions. The first failure ends the program with status 1.
#include <cstdint>
#include <cstdio>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "check.hpp"
#include "pagelm.hpp"

#ifndef PAGELM_NO_EXCEPTIONS
#error "compile this with -fno-exceptions"
#endif

namespace {

static_assert(!std::is_same_v<pagelm::Result<int>, int>);

void text_comes_as_with_exceptions()
{
    pagelm::Result<pagelm::Model> model = pagelm::Model::load(models + "gpt2-basic-bytes.gguf");
    CHECK(model);
    CHECK(model.error().code() == PAGELM_OK);
    pagelm::Result<pagelm::Session> session = model->session();
    CHECK(session);
    pagelm::Result<pagelm::Generation> generation = session->generate("The ", 20);
    CHECK(generation);
    std::string text;
    std::vector<std::uint32_t> ids;
    for (const pagelm::Piece piece : *generation) {
        text += piece.text;
        ids.push_back(piece.token);
    }
    CHECK(generation->error().code() == PAGELM_OK);
    CHECK(ids.size() == 20);
    CHECK(*model->detokenize(ids) == text);
    // A result can be taken out and the objects moved.
    pagelm::Session moved = *std::move(session);
    CHECK(moved.reset());
    CHECK(moved.feed("The "));
    CHECK(*moved.run() == PAGELM_TOKEN && *moved.token() == ids[0]);
    const pagelm::Result<std::vector<std::byte>> snapshot = moved.snapshot();
    CHECK(snapshot && moved.restore(*snapshot));
}

void failures_are_results()
{
    CHECK(pagelm::check_abi());
    const pagelm::Result<pagelm::Model> none = pagelm::Model::load(models + "no-such-file");
    CHECK(!none && none.error().code() == pagelm::error_file);
    const pagelm::Result<pagelm::Model> text = pagelm::Model::load(models + "README.md");
    CHECK(!text && text.error().code() == PAGELM_ERROR_BAD_MAGIC);
    pagelm::Loader loader;
    CHECK(loader.append(read_file("denoise.gguf")));
    const pagelm::Result<pagelm::Model> model = loader.finish();
    CHECK(model);
    pagelm::Result<pagelm::Session> session = model->session();
    CHECK(session);
    CHECK(session->feed("x").error().code() == PAGELM_ERROR_NO_TOKENIZER);
    CHECK(session->generate("x", 1).error().code() == PAGELM_ERROR_NO_TOKENIZER);
    CHECK(session->token().error().code() == PAGELM_ERROR_NO_LOGITS);
    // Within a loop: it ends, and the range says why.
    pagelm::Generation generation = session->generate(5);
    for (const pagelm::Piece piece : generation)
        CHECK(piece.token == 0 && false);
    CHECK(generation.error().code() < 0 && generation.error().what()[0] != '\0');
    pagelm::Loader cut;
    CHECK(cut.append({read_file("denoise.gguf").data(), 1000}));
    CHECK(cut.finish().error().code() == PAGELM_ERROR_TRUNCATED);
    CHECK(!cut.append({}) && !cut.finish());
}

} // namespace

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    models = argv[1];
    text_comes_as_with_exceptions();
    failures_are_results();
    std::puts("2 passed");
    return 0;
}
