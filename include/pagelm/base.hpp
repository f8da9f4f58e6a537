// Part of pagelm.hpp: structures, failures, views, memory.
#ifndef PAGELM_BASE_HPP
#define PAGELM_BASE_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "../pagelm.h"

// Each way of failing has a namespace of its own, so that parts of a program that are compiled with
// and without exceptions can be linked. Users write `pagelm::` and need not know.
#if !defined(PAGELM_NO_EXCEPTIONS) && !defined(__cpp_exceptions) && !defined(_CPPUNWIND)
#define PAGELM_NO_EXCEPTIONS
#endif
#ifdef PAGELM_NO_EXCEPTIONS
#define PAGELM_NAMESPACE returning
#else
#define PAGELM_NAMESPACE throwing
#endif

namespace pagelm {
inline namespace PAGELM_NAMESPACE {

// ---- Structures of pagelm.h, with struct_size set and everything else zero ------------------------

template <class T> struct Sized : T {
    Sized() noexcept : T{} { this->struct_size = sizeof(T); }
};
using ModelInfo = Sized<pagelm_model_info>;
using SessionParams = Sized<pagelm_session_params>;
using SessionInfo = Sized<pagelm_session_info>;
using Sampling = Sized<pagelm_sampling>;

// The token of a Piece that has none.
inline constexpr std::uint32_t no_token = PAGELM_NO_TOKEN;

// Of a file that cannot be opened or read. No status of the library has this number.
inline constexpr std::int32_t error_file = -1000;

// ---- Failures -------------------------------------------------------------------------------------

// What went wrong. It holds no memory of its own, so copying it cannot fail.
class Error : public std::exception {
public:
    // A failure in words that are cut to fit. `code`: a PAGELM_ERROR_*, or error_file.
    Error(std::int32_t code, std::string_view text) noexcept
    {
        error_.code = code;
        const std::size_t n = std::min(text.size(), sizeof error_.text - 1);
        std::copy_n(text.data(), n, error_.text);
    }
    // One of the library's.
    explicit Error(const pagelm_error &error) noexcept { static_cast<pagelm_error &>(error_) = error; }

    // A PAGELM_ERROR_*, or error_file.
    std::int32_t code() const noexcept { return error_.code; }
    // The byte of the model file, or of the text, that it is about; else 0.
    std::uint64_t offset() const noexcept { return error_.offset; }
    // One sentence in English.
    const char *what() const noexcept override { return error_.text; }

private:
    Sized<pagelm_error> error_;
};

#ifdef PAGELM_NO_EXCEPTIONS

// A T or an Error. `*result` and `result->` only after a look at `if (result)`.
template <class T> class [[nodiscard]] Result {
public:
    Result(T value) : value_(std::move(value)) {}
    Result(const Error &error) : error_(error) {}

    explicit operator bool() const noexcept { return value_.has_value(); }
    T &operator*() & noexcept { return *value_; }
    const T &operator*() const & noexcept { return *value_; }
    T &&operator*() && noexcept { return *std::move(value_); }
    T *operator->() noexcept { return &*value_; }
    const T *operator->() const noexcept { return &*value_; }
    // Code PAGELM_OK and an empty text if nothing went wrong.
    const Error &error() const noexcept { return error_; }

private:
    std::optional<T> value_;
    Error error_{PAGELM_OK, {}};
};

// Done, or an Error.
template <> class [[nodiscard]] Result<void> {
public:
    Result() = default;
    Result(const Error &error) : error_(error) {}

    explicit operator bool() const noexcept { return error_.code() == PAGELM_OK; }
    const Error &error() const noexcept { return error_; }

private:
    Error error_{PAGELM_OK, {}};
};

namespace detail {
template <class T> Result<T> fail(const Error &error) { return error; }
inline Result<void> done() { return {}; }
} // namespace detail

#else

template <class T> using Result = T;

namespace detail {
template <class T> [[noreturn]] Result<T> fail(const Error &error) { throw error; }
inline void done() {}
} // namespace detail

#endif

// ---- Views and memory -----------------------------------------------------------------------------

// Some T one behind the other, that belong to somebody else: made of an array, a vector, a string,
// or of a pointer and a number.
template <class T> class View {
    template <class C> using Data = std::remove_pointer_t<decltype(std::data(std::declval<C &>()))>;

public:
    constexpr View() noexcept = default;
    constexpr View(T *data, std::size_t size) noexcept : data_(data), size_(size) {}
    template <class C, class = std::enable_if_t<std::is_convertible_v<Data<C> (*)[], T (*)[]>>>
    constexpr View(C &&container) noexcept : data_(std::data(container)), size_(std::size(container))
    {
    }

    // For the length of one call: `session.feed_ids({1, 2, 3})`.
    template <class U = T, class = std::enable_if_t<std::is_const_v<U>>>
    constexpr View(std::initializer_list<std::remove_const_t<U>> list) noexcept
        : View(std::data(list), std::size(list))
    {
    }

    constexpr T *data() const noexcept { return data_; }
    constexpr std::size_t size() const noexcept { return size_; }
    constexpr bool empty() const noexcept { return size_ == 0; }
    constexpr T *begin() const noexcept { return data_; }
    constexpr T *end() const noexcept { return data_ + size_; }
    constexpr T &operator[](std::size_t i) const noexcept { return data_[i]; }

private:
    T *data_ = nullptr;
    std::size_t size_ = 0;
};

namespace detail {

inline Error error_of(std::int32_t status, const pagelm_error &error)
{
    return error.code == status ? Error(error) : Error(status, pagelm_status_text(status));
}

inline const std::uint8_t *bytes(const void *data) { return static_cast<const std::uint8_t *>(data); }

// Memory for one object or file, at a multiple of 8. The library clears what it needs of it.
class Memory {
public:
    // False if it cannot be had.
    bool get(std::uint64_t size)
    {
        if (size > SIZE_MAX - 7)
            return false;
        size_ = static_cast<std::size_t>(size);
        words_.reset(new (std::nothrow) std::uint64_t[(size_ + 7) / 8]);
        return words_ != nullptr;
    }
    std::uint8_t *data() const { return reinterpret_cast<std::uint8_t *>(words_.get()); }
    std::size_t size() const { return size_; }

private:
    std::unique_ptr<std::uint64_t[]> words_;
    std::size_t size_ = 0;
};

inline Error no_memory(std::uint64_t size)
{
    return Error(PAGELM_ERROR_OUT_OF_MEMORY, "there are no " + std::to_string(size) + " bytes of memory");
}

// How many bytes at the end of `text` begin a UTF-8 character that goes on after it.
inline std::size_t unfinished(std::string_view text)
{
    for (std::size_t back = 1; back <= 3 && back <= text.size(); back++) {
        const auto byte = static_cast<unsigned char>(text[text.size() - back]);
        if ((byte & 0xc0) == 0x80)
            continue;
        const std::size_t length = byte < 0xc2 || byte > 0xf4 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
        return length > back ? back : 0;
    }
    return 0;
}

} // namespace detail

// ---- The library ----------------------------------------------------------------------------------

// A version of the interface in words: "0.1.0".
inline std::string version_text(std::uint32_t version)
{
    return std::to_string(version >> 16) + '.' + std::to_string(version >> 8 & 0xff) + '.' +
           std::to_string(version & 0xff);
}

namespace detail {
inline std::optional<Error> abi_error()
{
    constexpr std::uint32_t header = PAGELM_ABI_VERSION;
    const std::uint32_t library = pagelm_abi_version();
    if (library >> 16 == header >> 16 && (library >> 8 & 0xff) >= (header >> 8 & 0xff))
        return std::nullopt;
    return Error(PAGELM_ERROR_UNSUPPORTED, "the pagelm library has ABI " + version_text(library) +
                                               ", the program was compiled for " + version_text(header));
}
} // namespace detail

// Whether the library fits the header that this was compiled with: the same major version, and a
// minor one that is not older. Loading a model asks by itself.
inline Result<void> check_abi()
{
    const std::optional<Error> error = detail::abi_error();
    return error ? detail::fail<void>(*error) : detail::done();
}

} // namespace PAGELM_NAMESPACE
} // namespace pagelm

#endif // PAGELM_BASE_HPP
