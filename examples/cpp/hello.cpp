// hello: the shortest whole program in C++.  hello MODEL "Once upon a time"
#include <iostream>

#include "pagelm.hpp"

int main(int argc, char **argv)
try {
    if (argc != 3)
        throw pagelm::Error(0, "usage: hello MODEL PROMPT");
    const pagelm::Model model = pagelm::Model::load(argv[1]);
    pagelm::Session session = model.session();
    for (const pagelm::Piece piece : session.generate(argv[2], 50))
        std::cout << piece.text << std::flush;
    std::cout << '\n';
} catch (const pagelm::Error &error) {
    std::cerr << "hello: " << error.what() << '\n';
    return 1;
}
