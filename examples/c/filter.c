/*
 * filter: a signal sample by sample through a small recurrent network, in C99 on nothing but
 * pagelm.h and without malloc, as a device would do it.
 *
 *   filter MODEL < samples > filtered
 *
 * One number on a line comes in, one goes out at once: what the network makes of the sample and of
 * all that it remembers. examples/models/denoise.gguf takes mains hum and noise out of a pulse
 * sensor's signal, 250 samples a second; its output is three samples late.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "pagelm.h"

/* All memory there is: the file, the model and the session one behind the other. */
static uint64_t memory[64 * 1024 / sizeof(uint64_t)];

/* How much of it is in use, in words; what is handed out starts at a multiple of 64 bytes. */
static size_t used;

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "filter: %s: %s\n", what, why);
    return 1;
}

static int fail_status(const char *what, int32_t status)
{
    return fail(what, pagelm_status_text(status));
}

/* The next `size` bytes of the memory; NULL if there are not so many. */
static void *take(size_t size)
{
    const size_t words = (size + 63) / 64 * 8;
    void *start = memory + used;
    if (size > sizeof memory || words > sizeof memory / sizeof *memory - used)
        return NULL;
    used += words;
    return start;
}

/* Reads a file into the memory; its size, 0 if it cannot be read or has no room. */
static size_t read_file(const char *path)
{
    size_t size;
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return 0;
    size = fread(memory, 1, sizeof memory, file);
    if (ferror(file) || fgetc(file) != EOF)
        size = 0;
    fclose(file);
    return size;
}

/* The model in the file at the start of the memory, and a session with it. */
static int32_t start(uint8_t *file, size_t size, pagelm_model_info *info, pagelm_session **session)
{
    pagelm_session_params params = { .struct_size = sizeof params, .n_ctx = 1, .n_batch = 1 };
    pagelm_model *model;
    size_t session_size;
    void *mem;
    int32_t status = pagelm_model_probe(file, size, info, NULL);
    if (status != PAGELM_OK)
        return status;
    mem = take(info->model_mem_size);
    if (mem == NULL)
        return PAGELM_ERROR_OUT_OF_MEMORY;
    status = pagelm_model_init(mem, info->model_mem_size, file, size, size, &model, NULL);
    if (status != PAGELM_OK)
        return status;
    status = pagelm_session_mem_size(model, &params, &session_size);
    if (status != PAGELM_OK)
        return status;
    mem = take(session_size);
    if (mem == NULL)
        return PAGELM_ERROR_OUT_OF_MEMORY;
    return pagelm_session_init(mem, session_size, model, &params, session, NULL);
}

/* A line's number; 0 if it is none. */
static int read_sample(const char *line, float *sample)
{
    char *end;
    errno = 0;
    *sample = strtof(line, &end);
    while (*end == ' ' || *end == '\r' || *end == '\n')
        end++;
    return end != line && *end == '\0' && errno == 0;
}

static int run(pagelm_session *session)
{
    char line[64];
    while (fgets(line, sizeof line, stdin) != NULL) {
        float sample, output;
        size_t n;
        int32_t status;
        if (!read_sample(line, &sample))
            return fail("a line of the input", "is not a number");
        status = pagelm_session_predict(session, &sample, 1, PAGELM_STATEFUL, &output, 1, &n);
        if (status != PAGELM_OK)
            return fail_status("a sample", status);
        printf("%.6g\n", (double)output);
        if (fflush(stdout) != 0)
            return fail("standard output", "cannot be written");
    }
    return 0;
}

int main(int argc, char **argv)
{
    pagelm_model_info info = { .struct_size = sizeof info };
    pagelm_session *session;
    size_t size;
    int32_t status;
    if (argc != 2) {
        fputs("usage: filter MODEL < samples > filtered\n", stderr);
        return 2;
    }
    size = read_file(argv[1]);
    if (size == 0 || take(size) == NULL)
        return fail(argv[1], "cannot be read, or is too large for this program");
    status = start((uint8_t *)memory, size, &info, &session);
    if (status != PAGELM_OK)
        return fail_status(argv[1], status);
    if (info.n_input != 1 || info.n_output != 1)
        return fail(argv[1], "does not take and give one number at a time");
    return run(session);
}
