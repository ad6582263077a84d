/* A DenseNet on a CPU, in C: what export.py --file_format ENGINE writes, answered without MindSpore.
 *
 *   char why[256];
 *   densenet_engine* engine = densenet_engine_load("flowers.engine", "fp32", why, sizeof why);
 *   if (!engine) return fail(why);
 *   densenet_engine_shape shape = densenet_engine_describe(engine);
 *   ... images: count x shape.channels x shape.image_size x shape.image_size, as the manifest's preprocessing says
 *   if (densenet_engine_predict(engine, images, count, logits, NULL, why, sizeof why)) return fail(why);
 *   densenet_engine_free(engine);
 *
 * Any number of threads may predict with one engine. What fails leaves a sentence in `why`, cut to its size. */
#ifndef DENSENET_ENGINE_H_
#define DENSENET_ENGINE_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DENSENET_ENGINE_API __attribute__((visibility("default")))

typedef struct densenet_engine densenet_engine;

/* Images are float32 (count, channels, image_size, image_size); logits (count, classes); features
 * (count, feature_channels, feature_size, feature_size). */
typedef struct {
  int32_t channels, image_size, classes, feature_channels, feature_size;
} densenet_engine_shape;

/* The engine of the file at `path`, or null. precision: "fp32", or "bf16", which takes a CPU that multiplies it and a
 * file that is not in INT8; one that is computes in INT8 with "fp32". */
DENSENET_ENGINE_API densenet_engine* densenet_engine_load(const char* path, const char* precision, char* why,
                                                          size_t why_size);

DENSENET_ENGINE_API densenet_engine_shape densenet_engine_describe(const densenet_engine* engine);

/* The file's manifest, JSON in UTF-8: preprocessing, class names, task. It stays until the engine is freed. */
DENSENET_ENGINE_API const char* densenet_engine_manifest(const densenet_engine* engine);

/* What it computes with: avx2, avx_vnni, avx512, avx512_vnni, avx512_bf16, amx_bf16 or neon. */
DENSENET_ENGINE_API const char* densenet_engine_instruction_set(const densenet_engine* engine);

/* Logits of `count` images, divided by the manifest's temperature; and, unless it is null, the last features behind
 * their ReLU, whose means the classifier reads. Returns 0, or 1 when it fails. */
DENSENET_ENGINE_API int densenet_engine_predict(const densenet_engine* engine, const float* images, int64_t count,
                                                float* logits, float* features, char* why, size_t why_size);

/* Null is allowed. No thread may be predicting with it. */
DENSENET_ENGINE_API void densenet_engine_free(densenet_engine* engine);

#ifdef __cplusplus
}
#endif

#endif
