// Compiled against a header of another version of the interface than the library's: the library must
// be refused before anything is asked of it.  abi MODEL
#include <iostream>

#include "pagelm.hpp"

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    try {
        pagelm::Model::load(argv[1]);
    } catch (const pagelm::Error &error) {
        std::cout << error.what() << '\n';
        return error.code() == PAGELM_ERROR_UNSUPPORTED ? 0 : 1;
    }
    return 1;
}
