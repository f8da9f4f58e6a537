// What the tests of pagelm.hpp share: checks that say where they failed, and files.
#ifndef CHECK_HPP
#define CHECK_HPP

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                               \
            std::exit(1);                                                                                              \
        }                                                                                                              \
    } while (false)

// The folder of the models, with a slash at its end.
inline std::string models;

inline std::vector<std::byte> read_file(const std::string &name)
{
    std::ifstream file(models + name, std::ios::binary);
    CHECK(file.good());
    const std::vector<char> chars{std::istreambuf_iterator<char>(file), {}};
    std::vector<std::byte> bytes(chars.size());
    for (std::size_t i = 0; i < chars.size(); i++)
        bytes[i] = static_cast<std::byte>(chars[i]);
    return bytes;
}

#endif // CHECK_HPP
