/*
 * generate: text from a model file, in C99 on nothing but pagelm.h.
 *
 *   generate MODEL PROMPT [TOKENS] [TEMPERATURE] [SEED] [--hash]
 *   generate MODEL --ids 1,2,3 [TOKENS] [TEMPERATURE] [SEED] [--hash]
 *
 * Text goes to standard output as it comes. With --ids the model is fed token ids; if it has no
 * tokenizer, ids come out as well. With --hash the last line is the FNV-1a hash of the token ids.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pagelm.h"

struct options {
    const char *model;
    const char *prompt;
    const char *ids;
    unsigned long tokens;
    float temperature;
    uint64_t seed;
    int hash;
};

/* One block of memory for everything: the file, the model, the session. */
struct memory {
    uint8_t *start;
    uint8_t *file, *model, *session;
    size_t file_size, model_size, session_size;
};

static const char USAGE[] =
    "usage: generate MODEL PROMPT [TOKENS] [TEMPERATURE] [SEED] [--hash]\n"
    "       generate MODEL --ids 1,2,3 [TOKENS] [TEMPERATURE] [SEED] [--hash]\n";

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "generate: %s: %s\n", what, why);
    return 1;
}

static int fail_status(const char *what, int32_t status, const pagelm_error *error)
{
    if (error != NULL && error->code == status)
        return fail(what, error->text);
    return fail(what, pagelm_status_text(status));
}

static int fail_session(const char *what, int32_t status, const pagelm_session *session)
{
    pagelm_error error = { .struct_size = sizeof error };
    if (pagelm_session_last_error(session, &error) != PAGELM_OK)
        return fail(what, pagelm_status_text(status));
    return fail_status(what, status, &error);
}

/* A whole decimal number; 0 if it is none. */
static int read_number(const char *text, uint64_t max, uint64_t *number)
{
    char *end;
    unsigned long long value;
    errno = 0;
    value = strtoull(text, &end, 10);
    if (end == text || *end != '\0' || *text == '-' || errno != 0 || value > max)
        return 0;
    *number = value;
    return 1;
}

static int read_positional(struct options *o, int place, const char *text)
{
    uint64_t number;
    char *end;
    switch (place) {
    case 0:
        o->model = text;
        return 1;
    case 1:
        o->prompt = text;
        return 1;
    case 2:
        if (!read_number(text, 0xffffffff, &number))
            return 0;
        o->tokens = (unsigned long)number;
        return 1;
    case 3:
        o->temperature = strtof(text, &end);
        return end != text && *end == '\0';
    case 4:
        return read_number(text, UINT64_MAX, &o->seed);
    default:
        return 0;
    }
}

static int read_options(struct options *o, int argc, char **argv)
{
    int place = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--hash") == 0) {
            o->hash = 1;
        } else if (strcmp(argv[i], "--ids") == 0 && place == 1 && i + 1 < argc) {
            o->ids = argv[++i];
            place = 2;
        } else if (!read_positional(o, place++, argv[i])) {
            return 0;
        }
    }
    return o->model != NULL && (o->prompt != NULL || o->ids != NULL);
}

/*
 * Reads as much of the file as it takes to know all sizes: doubles the part until the header is in.
 * The part is thrown away again; a program that has memory to spare just reads the whole file first.
 */
static int probe(const char *path, FILE *f, size_t file_size, pagelm_model_info *info, size_t *session_size)
{
    pagelm_error error = { .struct_size = sizeof error };
    int32_t status = PAGELM_MORE;
    for (size_t n = 65536; status == PAGELM_MORE; n *= 2) {
        size_t part = n < file_size ? n : file_size;
        uint8_t *bytes = malloc(part > 0 ? part : 1);
        if (bytes == NULL)
            return fail(path, "out of memory");
        rewind(f);
        if (fread(bytes, 1, part, f) != part) {
            free(bytes);
            return fail(path, "cannot read the file");
        }
        status = pagelm_model_probe(bytes, part, info, &error);
        if (status == PAGELM_OK)
            status = pagelm_session_probe(bytes, part, NULL, session_size, &error);
        free(bytes);
        if (status == PAGELM_MORE && part == file_size)
            return fail(path, "the file is cut short: it ends before its header does");
    }
    return status == PAGELM_OK ? 0 : fail_status(path, status, &error);
}

/* Sizes are rounded up so that each part starts at a multiple of 64. */
static size_t round_up(size_t size)
{
    return (size + 63) / 64 * 64;
}

static int allocate(struct memory *m, size_t file_size, size_t model_size, size_t session_size)
{
    m->file_size = file_size;
    m->model_size = model_size;
    m->session_size = session_size;
    m->start = malloc(round_up(file_size) + round_up(model_size) + session_size);
    if (m->start == NULL)
        return fail("memory", "out of memory");
    m->file = m->start;
    m->model = m->file + round_up(file_size);
    m->session = m->model + round_up(model_size);
    return 0;
}

static int read_file(const char *path, struct memory *m)
{
    pagelm_model_info info = { .struct_size = sizeof info };
    size_t session_size = 0;
    long size;
    int failed;
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        return fail(path, strerror(errno));
    if (fseek(f, 0, SEEK_END) != 0 || (size = ftell(f)) < 0) {
        fclose(f);
        return fail(path, "cannot tell the file's size");
    }
    failed = probe(path, f, (size_t)size, &info, &session_size);
    if (!failed)
        failed = allocate(m, (size_t)size, (size_t)info.model_mem_size, session_size);
    rewind(f);
    if (!failed && fread(m->file, 1, m->file_size, f) != m->file_size)
        failed = fail(path, "cannot read the file");
    fclose(f);
    return failed;
}

/* Feeds the list "1,2,3". */
static int32_t feed_ids(pagelm_session *session, const char *list)
{
    int32_t status = PAGELM_OK;
    while (status == PAGELM_OK && *list != '\0') {
        char *end;
        unsigned long long id = strtoull(list, &end, 10);
        uint32_t one = id > 0xffffffff ? 0xffffffff : (uint32_t)id;
        if (end == list || (*end != ',' && *end != '\0'))
            return PAGELM_ERROR_BAD_PARAM;
        status = pagelm_session_feed_ids(session, &one, 1);
        list = *end == ',' ? end + 1 : end;
    }
    return status;
}

static void print_token(const pagelm_session *session, int has_text, uint32_t id)
{
    const uint8_t *text;
    size_t len;
    if (!has_text)
        printf("%lu ", (unsigned long)id);
    else if (pagelm_session_text(session, &text, &len) == PAGELM_OK)
        fwrite(text, 1, len, stdout);
    fflush(stdout);
}

static uint64_t hash_id(uint64_t hash, uint32_t id)
{
    for (int i = 0; i < 4; i++)
        hash = (hash ^ (id >> (8 * i) & 0xff)) * 0x100000001b3u;
    return hash;
}

static int generate(const struct options *o, pagelm_session *session, int has_text)
{
    pagelm_sampling sampling = { .struct_size = sizeof sampling };
    uint64_t hash = 0xcbf29ce484222325u;
    int32_t status;
    sampling.temperature = o->temperature;
    sampling.seed = o->seed;
    status = pagelm_session_set_sampling(session, &sampling);
    if (status < 0)
        return fail_session("sampling", status, session);
    status = o->ids != NULL
        ? feed_ids(session, o->ids)
        : pagelm_session_feed_text(session, (const uint8_t *)o->prompt, strlen(o->prompt), 0);
    if (status < 0)
        return fail_session("prompt", status, session);
    for (unsigned long i = 0; i < o->tokens; i++) {
        uint32_t id = 0;
        status = pagelm_session_run(session, 0);
        if (status < 0)
            return fail_session("generate", status, session);
        if (status == PAGELM_TOKEN && pagelm_session_token(session, &id) == PAGELM_OK)
            hash = hash_id(hash, id);
        print_token(session, has_text || status == PAGELM_FINISHED, id);
        if (status == PAGELM_FINISHED)
            break;
    }
    putchar('\n');
    if (o->hash)
        printf("%08lx%08lx\n", (unsigned long)(hash >> 32), (unsigned long)(hash & 0xffffffff));
    return 0;
}

static int load_and_generate(const struct options *o, const struct memory *m)
{
    pagelm_error error = { .struct_size = sizeof error };
    pagelm_model_info info = { .struct_size = sizeof info };
    pagelm_model *model;
    pagelm_session *session;
    int32_t status = pagelm_model_init(m->model, m->model_size, m->file, m->file_size, m->file_size, &model, &error);
    if (status != PAGELM_OK)
        return fail_status(o->model, status, &error);
    status = pagelm_session_init(m->session, m->session_size, model, NULL, &session, &error);
    if (status != PAGELM_OK)
        return fail_status("session", status, &error);
    status = pagelm_model_get_info(model, &info);
    if (status != PAGELM_OK)
        return fail_status("model", status, NULL);
    return generate(o, session, info.tokenizer != PAGELM_TOKENIZER_NONE);
}

int main(int argc, char **argv)
{
    struct options o = { NULL, NULL, NULL, 64, 0.0f, 0, 0 };
    struct memory m = { NULL, NULL, NULL, NULL, 0, 0, 0 };
    int failed;
    if (!read_options(&o, argc, argv)) {
        fputs(USAGE, stderr);
        return 2;
    }
    failed = read_file(o.model, &m);
    if (!failed)
        failed = load_and_generate(&o, &m);
    free(m.start);
    return failed;
}
