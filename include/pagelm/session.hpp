// Part of pagelm.hpp: sessions, and the range of a text while it is written.
#ifndef PAGELM_SESSION_HPP
#define PAGELM_SESSION_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base.hpp"

namespace pagelm {
inline namespace PAGELM_NAMESPACE {

// What one step of Session::generate gave.
struct Piece {
    // The token's id; no_token for what is left of the text at its end.
    std::uint32_t token = no_token;
    // What the text grew by: whole UTF-8 characters, and empty while one is not complete or may be
    // the beginning of a stop string. Only the last piece may end within a character. All pieces
    // together are the text, byte by byte. It holds until the next step.
    std::string_view text;
};

// A token and the logarithm of its probability.
struct Likely {
    std::uint32_t token;
    float logprob;
};

// Puts bytes together to whole UTF-8 characters, for a loop of your own over Session::text.
// Generation has one built in. Bytes that are no UTF-8 go through as they are.
class Characters {
public:
    // Takes bytes and gives the characters that are whole by now; they hold until the next call.
    std::string_view add(std::string_view bytes)
    {
        text_.erase(0, shown_);
        text_.append(bytes);
        shown_ = text_.size() - detail::unfinished(text_);
        return shown();
    }
    // At the end of the text: as `add`, with the bytes of a character that was cut off.
    std::string_view end(std::string_view bytes)
    {
        add(bytes);
        shown_ = text_.size();
        return shown();
    }
    // What the last call gave.
    std::string_view shown() const { return std::string_view(text_).substr(0, shown_); }

private:
    std::string text_; // what was shown last, then the bytes of a character that goes on
    std::size_t shown_ = 0;
};

// A text while it is written: a range to go through once. Each step computes a token; to leave the
// loop is to cancel.
class Generation {
public:
    struct End {};
    class Iterator {
    public:
        using iterator_category = std::input_iterator_tag;
        using value_type = Piece;
        using difference_type = std::ptrdiff_t;
        using pointer = void;
        using reference = Piece;

        explicit Iterator(Generation *generation) : generation_(generation) {}
        Piece operator*() const { return generation_->piece(); }
        Iterator &operator++()
        {
            generation_->next();
            return *this;
        }
        void operator++(int) { generation_->next(); }
        friend bool operator==(const Iterator &it, End) { return it.over(); }
        friend bool operator!=(const Iterator &it, End) { return !it.over(); }

    private:
        bool over() const { return generation_->over_; }
        Generation *generation_;
    };

    Generation(Generation &&) = default;
    Generation &operator=(Generation &&) = default;

    // With exceptions it throws, here and in each step.
    Iterator begin()
    {
        if (!begun_)
            next();
        return Iterator(this);
    }
    End end() const { return {}; }

    // Without exceptions: what ended the text, code PAGELM_OK if nothing went wrong.
    const Error &error() const noexcept { return error_; }

private:
    friend class Session;
    Generation(pagelm_session *session, std::uint32_t max_tokens) : session_(session), left_(max_tokens) {}

    Piece piece() const { return {token_, text_.shown()}; }
    void next();
    void take(std::uint32_t token, bool last);
    void stop(std::int32_t status);

    pagelm_session *session_;
    std::uint32_t left_;
    bool begun_ = false;
    bool last_ = false; // the piece is the last one
    bool over_ = false;
    std::uint32_t token_ = no_token;
    Characters text_;
    Error error_{PAGELM_OK, {}};
};

// One text being written, or one recurrent network being run. `Model::session` makes it.
class Session {
public:
    Session(Session &&) = default;
    Session &operator=(Session &&) = default;

    // Feeds a text and writes up to `max_tokens` tokens after it. The settings stay those that
    // set_sampling and the stops made; call it again to go on with the same text.
    Result<Generation> generate(std::string_view prompt, std::uint32_t max_tokens)
    {
        const std::int32_t status = pagelm_session_feed_text(get(), detail::bytes(prompt.data()), prompt.size(), 0);
        return status < 0 ? detail::fail<Generation>(failure(status)) : Generation(get(), max_tokens);
    }
    // Goes on after what was fed.
    Generation generate(std::uint32_t max_tokens) { return Generation(get(), max_tokens); }

    // Settings, as the functions of the same names in pagelm.h.
    Result<void> set_sampling(const Sampling &sampling)
    {
        return done(pagelm_session_set_sampling(get(), &sampling));
    }
    Result<void> set_logit_bias(View<const std::uint32_t> ids, View<const float> bias)
    {
        if (ids.size() != bias.size())
            return detail::fail<void>(Error(PAGELM_ERROR_BAD_PARAM, "as many biases as ids are needed"));
        return done(pagelm_session_set_logit_bias(get(), ids.data(), bias.data(), ids.size()));
    }
    Result<void> add_stop(std::string_view text)
    {
        return done(pagelm_session_add_stop(get(), detail::bytes(text.data()), text.size()));
    }
    Result<void> add_stop_token(std::uint32_t id) { return done(pagelm_session_add_stop_token(get(), id)); }
    Result<void> clear_stops() { return done(pagelm_session_clear_stops(get())); }

    // A loop of your own, as the functions of the same names in pagelm.h. Those that give a status
    // give one that is no error: PAGELM_OK, PAGELM_TOKEN, PAGELM_MORE or PAGELM_FINISHED.
    Result<void> feed(std::string_view text, std::uint32_t flags = 0)
    {
        return done(pagelm_session_feed_text(get(), detail::bytes(text.data()), text.size(), flags));
    }
    Result<void> feed_ids(View<const std::uint32_t> ids)
    {
        return done(pagelm_session_feed_ids(get(), ids.data(), ids.size()));
    }
    Result<std::int32_t> run(std::uint32_t budget = 0) { return value(pagelm_session_run(get(), budget)); }
    Result<std::int32_t> eval(std::uint32_t budget = 0) { return value(pagelm_session_eval(get(), budget)); }
    Result<std::int32_t> sample()
    {
        std::uint32_t id = 0;
        return value(pagelm_session_sample(get(), &id));
    }
    Result<std::int32_t> accept(std::uint32_t id) { return value(pagelm_session_accept(get(), id)); }
    Result<void> finish() { return done(pagelm_session_finish(get())); }
    Result<std::uint32_t> token() const
    {
        std::uint32_t id = 0;
        const std::int32_t status = pagelm_session_token(get(), &id);
        return seen(status, id);
    }
    // Raw bytes, which may end within a character; Generation's pieces do not.
    Result<std::string_view> text() const
    {
        const std::uint8_t *text = nullptr;
        std::size_t n = 0;
        const std::int32_t status = pagelm_session_text(get(), &text, &n);
        return seen(status, std::string_view(reinterpret_cast<const char *>(text), n));
    }
    // In the session, until the next call that changes it.
    Result<View<const float>> logits(std::size_t row = 0) const
    {
        const float *logits = nullptr;
        std::size_t n = 0;
        const std::int32_t status = pagelm_session_logits(get(), row, &logits, &n);
        return seen(status, View<const float>(logits, n));
    }
    // One vector for the text, of a session that was made with PAGELM_EMBEDDING. `pooling`:
    // PAGELM_POOL_MEAN or PAGELM_POOL_LAST. In the session, until the next call that changes it.
    Result<View<const float>> embedding(std::uint32_t pooling = PAGELM_POOL_MEAN) const
    {
        const float *embedding = nullptr;
        std::size_t n = 0;
        const std::int32_t status = pagelm_session_embedding(get(), pooling, &embedding, &n);
        return seen(status, View<const float>(embedding, n));
    }
    // What one head looked at, of a session that was made with PAGELM_ATTENTION; lives as long.
    Result<View<const float>> attention(std::uint32_t layer, std::uint32_t head) const
    {
        const float *weights = nullptr;
        std::size_t n = 0;
        const std::int32_t status = pagelm_session_attention(get(), layer, head, &weights, &n);
        return seen(status, View<const float>(weights, n));
    }
    Result<std::vector<Likely>> top_logprobs(std::size_t n) const
    {
        std::vector<std::uint32_t> ids(n);
        std::vector<float> logprobs(n);
        const std::int32_t status = pagelm_session_top_logprobs(get(), ids.data(), logprobs.data(), n);
        std::vector<Likely> top(n);
        for (std::size_t i = 0; i < n; i++)
            top[i] = {ids[i], logprobs[i]};
        return seen(status, std::move(top));
    }
    Result<void> reset() { return done(pagelm_session_reset(get())); }
    Result<SessionInfo> info() const
    {
        SessionInfo info;
        const std::int32_t status = pagelm_session_get_info(get(), &info);
        return seen(status, info);
    }

    // Where the session stands, in bytes that any session of the same model and parameters restores,
    // in any program.
    Result<std::vector<std::byte>> snapshot()
    {
        std::size_t n = 0;
        std::int32_t status = pagelm_session_snapshot_size(get(), &n);
        if (status < 0)
            return seen(status, std::vector<std::byte>());
        std::vector<std::byte> bytes(n);
        status = pagelm_session_snapshot(get(), bytes.data(), n, &n);
        return value(status, std::move(bytes));
    }
    Result<void> restore(View<const std::byte> snapshot)
    {
        return done(pagelm_session_restore(get(), snapshot.data(), snapshot.size()));
    }

    // A recurrent network as a function: steps of `n_input` numbers in, `n_output` numbers out, for
    // the last step or, with PAGELM_EVERY_STEP, for each. PAGELM_STATEFUL goes on from the call
    // before. The first form allocates nothing; it gives the count of numbers written to `out`.
    Result<std::size_t> predict(View<const float> input, View<float> out, std::uint32_t flags = 0)
    {
        std::size_t n = 0;
        const std::int32_t status =
            pagelm_session_predict(get(), input.data(), input.size(), flags, out.data(), out.size(), &n);
        return value(status, n);
    }
    Result<std::vector<float>> predict(View<const float> input, std::uint32_t flags = 0)
    {
        const std::size_t steps = input.size() / std::max<std::size_t>(shape_.n_input, 1);
        std::vector<float> out(outputs(steps, flags));
        std::size_t n = 0;
        const std::int32_t status =
            pagelm_session_predict(get(), input.data(), input.size(), flags, out.data(), out.size(), &n);
        out.resize(std::min(n, out.size()));
        return value(status, std::move(out));
    }
    // The same for a network that takes tokens.
    Result<std::vector<float>> predict_ids(View<const std::uint32_t> ids, std::uint32_t flags = 0)
    {
        std::vector<float> out(outputs(ids.size(), flags));
        std::size_t n = 0;
        const std::int32_t status =
            pagelm_session_predict_ids(get(), ids.data(), ids.size(), flags, out.data(), out.size(), &n);
        out.resize(std::min(n, out.size()));
        return value(status, std::move(out));
    }
    // A recurrent network's state: `n_state` numbers.
    Result<std::vector<float>> read_state() const
    {
        std::vector<float> state(shape_.n_state);
        std::size_t n = 0;
        const std::int32_t status = pagelm_session_read_state(get(), state.data(), state.size(), &n);
        return seen(status, std::move(state));
    }
    Result<void> write_state(View<const float> state)
    {
        return done(pagelm_session_write_state(get(), state.data(), state.size()));
    }

    // The handle, for functions of pagelm.h.
    pagelm_session *get() const noexcept { return session_; }

private:
    friend class Model;
    friend class Generation;
    Session(detail::Memory memory, pagelm_session *session, const ModelInfo &shape)
        : memory_(std::move(memory)), session_(session), shape_(shape)
    {
    }

    static Error failure(pagelm_session *session, std::int32_t status)
    {
        Sized<pagelm_error> error;
        pagelm_session_last_error(session, &error);
        return detail::error_of(status, error);
    }
    Error failure(std::int32_t status) const { return failure(get(), status); }
    // The end of a call that changes the session, which then knows why it failed ...
    Result<void> done(std::int32_t status)
    {
        return status < 0 ? detail::fail<void>(failure(status)) : detail::done();
    }
    Result<std::int32_t> value(std::int32_t status) { return value(status, status); }
    template <class T> Result<T> value(std::int32_t status, T value)
    {
        return status < 0 ? detail::fail<T>(failure(status)) : Result<T>(std::move(value));
    }
    // ... and of one that only looks, of which it remembers nothing.
    template <class T> static Result<T> seen(std::int32_t status, T value)
    {
        return status < 0 ? detail::fail<T>(Error(status, pagelm_status_text(status)))
                          : Result<T>(std::move(value));
    }
    std::size_t outputs(std::size_t steps, std::uint32_t flags) const
    {
        return shape_.n_output * ((flags & PAGELM_EVERY_STEP) != 0 ? steps : 1);
    }

    detail::Memory memory_;
    pagelm_session *session_;
    ModelInfo shape_;
};

inline void Generation::next()
{
    begun_ = true;
    if (last_) {
        over_ = true;
        return;
    }
    if (left_ == 0) {
        const std::int32_t status = pagelm_session_finish(session_);
        return status < 0 ? stop(status) : take(no_token, true);
    }
    left_--;
    const std::int32_t status = pagelm_session_run(session_, 0);
    if (status < 0)
        return stop(status);
    std::uint32_t id = no_token;
    if (status == PAGELM_TOKEN)
        pagelm_session_token(session_, &id);
    take(id, status == PAGELM_FINISHED);
}

// Makes the piece of what the session released; a last one without text is none.
inline void Generation::take(std::uint32_t token, bool last)
{
    const std::uint8_t *released = nullptr;
    std::size_t n = 0;
    pagelm_session_text(session_, &released, &n);
    const std::string_view bytes(reinterpret_cast<const char *>(released), n);
    const std::string_view text = last ? text_.end(bytes) : text_.add(bytes);
    last_ = last;
    over_ = last && text.empty();
    token_ = token;
}

inline void Generation::stop(std::int32_t status)
{
    error_ = Session::failure(session_, status);
    over_ = true;
#ifndef PAGELM_NO_EXCEPTIONS
    throw error_;
#endif
}

} // namespace PAGELM_NAMESPACE
} // namespace pagelm

#endif // PAGELM_SESSION_HPP
