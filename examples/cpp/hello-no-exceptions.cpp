// hello-no-exceptions: the same without exceptions (-fno-exceptions).  MODEL "Once upon a time"
#include <cstdio>

#include "pagelm.hpp"

static int fail(const pagelm::Error &error)
{
    std::fprintf(stderr, "hello: %s\n", error.what());
    return 1;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return fail({0, "usage: hello MODEL PROMPT"});
    auto model = pagelm::Model::load(argv[1]);
    if (!model)
        return fail(model.error());
    auto session = model->session();
    if (!session)
        return fail(session.error());
    auto text = session->generate(argv[2], 50);
    if (!text)
        return fail(text.error());
    for (const pagelm::Piece piece : *text)
        std::fwrite(piece.text.data(), 1, piece.text.size(), stdout);
    if (text->error().code() != PAGELM_OK)
        return fail(text->error());
    std::putchar('\n');
}
