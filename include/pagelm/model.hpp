// Part of pagelm.hpp: models, and loading them.
#ifndef PAGELM_MODEL_HPP
#define PAGELM_MODEL_HPP

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "session.hpp"

namespace pagelm {
inline namespace PAGELM_NAMESPACE {

class Loader;

// A model and its file, in memory of their own. Many sessions may share it, in many threads.
class Model {
public:
    Model(Model &&) = default;
    Model &operator=(Model &&) = default;

    // Reads a file from disk, plain GGUF or packed. To show how far it is, use a Loader.
    static Result<Model> load(const std::string &path);
    // A model of a file that is in memory already; its bytes are copied.
    static Result<Model> from_bytes(View<const std::byte> file);
    // A model of a packed file (docs/FORMAT.md), which may be read-only, is not copied, and must
    // stay where it is, at a multiple of 8: a constant of the program, say, or a mapped file.
    static Result<Model> from_packed(View<const std::byte> file);

    // A session. All default parameters are a good choice.
    Result<Session> session(const SessionParams &params = {}) const &
    {
        std::size_t size = 0;
        std::int32_t status = pagelm_session_mem_size(get(), &params, &size);
        if (status < 0)
            return detail::fail<Session>(Error(status, pagelm_status_text(status)));
        detail::Memory memory;
        if (!memory.get(size))
            return detail::fail<Session>(detail::no_memory(size));
        pagelm_session *session = nullptr;
        Sized<pagelm_error> error;
        status = pagelm_session_init(memory.data(), size, get(), &params, &session, &error);
        if (status < 0)
            return detail::fail<Session>(detail::error_of(status, error));
        return Session(std::move(memory), session, info_);
    }
    // A model that ends with the statement would leave its session behind.
    Result<Session> session(const SessionParams &params = {}) const && = delete;

    const ModelInfo &info() const noexcept { return info_; }

    // `flags`: PAGELM_PARSE_SPECIAL or 0.
    Result<std::vector<std::uint32_t>> tokenize(std::string_view text, std::uint32_t flags = 0) const
    {
        const std::size_t work_size = pagelm_tokenize_work_size(text.size());
        detail::Memory work;
        if (!work.get(work_size))
            return detail::fail<std::vector<std::uint32_t>>(detail::no_memory(work_size));
        std::vector<std::uint32_t> ids;
        const auto call = [&](std::size_t &n) {
            return pagelm_model_tokenize(get(), detail::bytes(text.data()), text.size(), flags, work.data(),
                                         work_size, ids.empty() ? nullptr : ids.data(), ids.size(), &n);
        };
        return counted(ids, call);
    }
    // Control tokens have no text; the text may end within a character.
    Result<std::string> detokenize(View<const std::uint32_t> ids) const
    {
        std::string text;
        const auto call = [&](std::size_t &n) {
            return pagelm_model_detokenize(get(), ids.data(), ids.size(),
                                           text.empty() ? nullptr : reinterpret_cast<std::uint8_t *>(text.data()),
                                           text.size(), &n);
        };
        return counted(text, call);
    }

    // The handle, for functions of pagelm.h.
    const pagelm_model *get() const noexcept { return model_; }

private:
    friend class Loader;
    Model(detail::Memory file, detail::Memory memory, const pagelm_model *model, const ModelInfo &info)
        : file_(std::move(file)), memory_(std::move(memory)), model_(model), info_(info)
    {
    }

    // Calls once to learn how long the answer is, and once to have it.
    template <class T, class Call> static Result<T> counted(T &answer, const Call &call)
    {
        std::size_t n = 0;
        std::int32_t status = call(n);
        if (status >= 0 && n > 0) {
            answer.resize(n);
            status = call(n);
        }
        return status < 0 ? detail::fail<T>(Error(status, pagelm_status_text(status))) : Result<T>(std::move(answer));
    }

    detail::Memory file_; // empty for a file that the caller keeps
    detail::Memory memory_;
    const pagelm_model *model_;
    ModelInfo info_;
};

// Loads a model from bytes as they come, from a network or a disk: `append` until there are no more,
// then `finish`. The work of loading is done on the way, and the file is in memory once. After a
// failure the loader is of no more use.
class Loader {
public:
    // The next bytes of the file. What follows the model's own bytes is left out.
    Result<void> append(View<const std::byte> bytes)
    {
        return take(bytes) ? detail::done() : detail::fail<void>(*failed_);
    }

    // What the model is, once its header has come, else null. `file_size` is how many bytes there
    // will be, `model_mem_size` how much memory the model takes besides.
    const ModelInfo *info() const noexcept { return known_ ? &info_ : nullptr; }
    // How many bytes have come.
    std::uint64_t received() const noexcept { return known_ ? received_ : header_.size(); }

    // The model, once. PAGELM_ERROR_TRUNCATED if there is less of the file than its header promises.
    Result<Model> finish()
    {
        if (!complete())
            return detail::fail<Model>(*failed_);
        return Model(std::move(file_), std::move(memory_), model_, info_);
    }

private:
    friend class Model;

    // False if loading failed, now or before: `failed_` says why.
    bool take(View<const std::byte> bytes)
    {
        if (failed_)
            return false;
        if (known_)
            return receive(bytes);
        header_.insert(header_.end(), bytes.begin(), bytes.end());
        // Where a header ends only reading it tells: it is tried again when twice as much has come.
        if (header_.size() < next_look_)
            return true;
        next_look_ = header_.size() * 2;
        return look();
    }

    // Tries to read the header; then gets the memory and goes on with what has come.
    bool look()
    {
        Sized<pagelm_error> error;
        if ((failed_ = detail::abi_error()))
            return false;
        const std::int32_t status = pagelm_model_probe(detail::bytes(header_.data()), header_.size(), &info_, &error);
        if (status == PAGELM_MORE)
            return true;
        if (status < 0)
            return fail(detail::error_of(status, error));
        if (!file_.get(info_.file_size) || !memory_.get(info_.model_mem_size))
            return fail(detail::no_memory(info_.file_size + info_.model_mem_size));
        known_ = true;
        const std::vector<std::byte> come = std::move(header_);
        return receive(come);
    }

    bool receive(View<const std::byte> bytes)
    {
        const std::size_t n = std::min(bytes.size(), file_.size() - received_);
        std::copy_n(detail::bytes(bytes.data()), n, file_.data() + received_);
        received_ += n;
        return info_.packed != 0 || advance();
    }

    bool advance()
    {
        Sized<pagelm_error> error;
        const std::int32_t status = model_ != nullptr
                                        ? pagelm_model_advance(model_, received_, &error)
                                        : pagelm_model_init(memory_.data(), memory_.size(), file_.data(), file_.size(),
                                                            received_, &model_, &error);
        return status >= 0 || fail(detail::error_of(status, error));
    }

    bool complete()
    {
        if (failed_ || (!known_ && !look()))
            return false;
        if (!known_)
            return fail(cut_short(header_.size(), "before its header does"));
        if (received_ < file_.size())
            return fail(cut_short(received_, "not " + std::to_string(file_.size())));
        if (info_.packed == 0)
            return true;
        Sized<pagelm_error> error;
        const std::int32_t status = pagelm_model_init_packed(memory_.data(), memory_.size(), file_.data(), file_.size(),
                                                             &model_, &error);
        return status >= 0 || fail(detail::error_of(status, error));
    }

    bool fail(const Error &error)
    {
        failed_ = error;
        return false;
    }

    static Error cut_short(std::size_t size, const std::string &rather)
    {
        return Error(PAGELM_ERROR_TRUNCATED,
                     "the file is cut short: it ends after " + std::to_string(size) + " bytes, " + rather);
    }

    std::vector<std::byte> header_; // what has come, until the header is whole
    std::size_t next_look_ = 4096;
    std::optional<Error> failed_;
    bool known_ = false;
    ModelInfo info_;
    detail::Memory file_;
    detail::Memory memory_;
    std::size_t received_ = 0;
    pagelm_model *model_ = nullptr;
};

inline Result<Model> Model::load(const std::string &path)
{
    const auto failed = [](int why) {
        return Error(error_file, std::string("the file cannot be read: ") + std::strerror(why));
    };
    const auto close = [](std::FILE *file) { std::fclose(file); };
    const std::unique_ptr<std::FILE, decltype(close)> file(std::fopen(path.c_str(), "rb"), close);
    if (file == nullptr)
        return detail::fail<Model>(failed(errno));
    Loader loader;
    std::vector<std::byte> part(std::size_t{1} << 18);
    while (const std::size_t n = std::fread(part.data(), 1, part.size(), file.get()))
        if (!loader.take({part.data(), n}))
            return loader.finish();
    if (std::ferror(file.get()) != 0)
        return detail::fail<Model>(failed(errno));
    return loader.finish();
}

inline Result<Model> Model::from_bytes(View<const std::byte> file)
{
    Loader loader;
    loader.take(file);
    return loader.finish();
}

inline Result<Model> Model::from_packed(View<const std::byte> file)
{
    if (const std::optional<Error> error = detail::abi_error())
        return detail::fail<Model>(*error);
    Sized<pagelm_error> error;
    ModelInfo info;
    std::int32_t status = pagelm_model_probe(detail::bytes(file.data()), file.size(), &info, &error);
    if (status == PAGELM_MORE)
        return detail::fail<Model>(Loader::cut_short(file.size(), "before its header does"));
    if (status < 0)
        return detail::fail<Model>(detail::error_of(status, error));
    detail::Memory memory;
    if (!memory.get(info.model_mem_size))
        return detail::fail<Model>(detail::no_memory(info.model_mem_size));
    pagelm_model *model = nullptr;
    status = pagelm_model_init_packed(memory.data(), memory.size(), detail::bytes(file.data()), file.size(), &model,
                                      &error);
    if (status < 0)
        return detail::fail<Model>(detail::error_of(status, error));
    return Model({}, std::move(memory), model, info);
}

} // namespace PAGELM_NAMESPACE
} // namespace pagelm

#endif // PAGELM_MODEL_HPP
