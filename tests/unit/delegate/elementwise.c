/* A TFLite external delegate for tests: it takes float32 ADD and MUL (with or without a fused RELU), MAXIMUM and RELU
 * of equal shapes and runs a chain of them block by block, so that what lies between stays in the cache. By its options
 * it also does what a delegate should not:
 *
 *   ops=ADD,MUL        the ops it takes; without it all four
 *   wrong=0.5          added to every result
 *   skip=1             computes nothing at all: surely faster than anything
 *   slow_us=500        busy for so long in every run of a partition
 *   fail=WHEN          create (says why and gives NULL), create_badly (and crashes when it is destroyed), silent (NULL
 *                      without a word), load (SIGSEGV), prepare, crash_prepare, invoke, crash_invoke
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tflite_abi.h"

enum { BLOCK = 1024, MAX_OPS = 256, FUSED_RELU = 1 };

typedef struct {
  int code;
  const char* name;
  int inputs;
} Kind;

static const Kind kinds[] = {
    {kTfLiteBuiltinAdd, "ADD", 2}, {kTfLiteBuiltinMul, "MUL", 2}, {kTfLiteBuiltinMaximum, "MAXIMUM", 2},
    {kTfLiteBuiltinRelu, "RELU", 1}};

typedef struct {
  char ops[64];
  char fail[16];
  float wrong;
  bool skip;
  long slow_us;
} Settings;

typedef struct {
  int code, left, right, output;
  bool relu;
  size_t size; /* elements; known once it runs */
} Step;

/* A partition: its ops in order, and a block of memory for each tensor that nobody outside sees. */
typedef struct {
  const Settings* settings;
  int count;
  Step steps[MAX_OPS];
  float* scratch[MAX_OPS];
  bool outside[MAX_OPS];
} Partition;

static bool crash_when_destroyed = false;

static void crash(void) { raise(SIGSEGV); }

static bool fails(const Settings* settings, const char* when) { return strcmp(settings->fail, when) == 0; }

static const Kind* find_kind(int code) {
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    if (kinds[i].code == code) return &kinds[i];
  return NULL;
}

static bool is_asked(const Settings* settings, const char* name) {
  const char* found = strstr(settings->ops, name);
  return settings->ops[0] == 0 || found != NULL;
}

/* ADD and MUL: their first option is the activation fused into them. */
static int fused_activation(const Kind* kind, const TfLiteNode* node) {
  return kind->code == kTfLiteBuiltinAdd || kind->code == kTfLiteBuiltinMul ? *(const int*)node->builtin_data : 0;
}

static bool is_taken(TfLiteContext* context, const Settings* settings, int index) {
  TfLiteNode* node;
  TfLiteRegistration* registration;
  if (context->GetNodeAndRegistration(context, index, &node, &registration) != kTfLiteOk) return false;
  const Kind* kind = find_kind(registration->builtin_code);
  if (kind == NULL || !is_asked(settings, kind->name)) return false;
  if (fused_activation(kind, node) > FUSED_RELU) return false;
  const TfLiteTensor* output = &context->tensors[node->outputs->data[0]];
  for (int i = 0; i < node->inputs->size; i++) {
    const TfLiteTensor* input = &context->tensors[node->inputs->data[i]];
    if (input->type != kTfLiteFloat32 || input->bytes != output->bytes) return false;
  }
  return true;
}

static bool holds(const TfLiteIntArray* array, int value) {
  for (int i = 0; i < array->size; i++)
    if (array->data[i] == value) return true;
  return false;
}

static void* init(TfLiteContext* context, const char* buffer, size_t length) {
  (void)length;
  const TfLiteDelegateParams* params = (const TfLiteDelegateParams*)buffer;
  Partition* partition = calloc(1, sizeof *partition);
  partition->settings = params->delegate->data_;
  for (int i = 0; i < params->nodes_to_replace->size && i < MAX_OPS; i++) {
    TfLiteNode* node;
    TfLiteRegistration* registration;
    context->GetNodeAndRegistration(context, params->nodes_to_replace->data[i], &node, &registration);
    int output = node->outputs->data[0];
    partition->steps[i] = (Step){registration->builtin_code, node->inputs->data[0],
                                 node->inputs->size > 1 ? node->inputs->data[1] : -1, output,
                                 fused_activation(find_kind(registration->builtin_code), node) == FUSED_RELU, 0};
    partition->outside[i] = holds(params->output_tensors, output);
    partition->scratch[i] = aligned_alloc(64, BLOCK * sizeof(float));
    partition->count = i + 1;
  }
  return partition;
}

static void release(TfLiteContext* context, void* data) {
  (void)context;
  Partition* partition = data;
  for (int i = 0; i < partition->count; i++) free(partition->scratch[i]);
  free(partition);
}

static TfLiteStatus prepare(TfLiteContext* context, TfLiteNode* node) {
  const Settings* settings = ((Partition*)node->user_data)->settings;
  if (fails(settings, "crash_prepare")) crash();
  if (fails(settings, "prepare")) {
    context->ReportError(context, "elementwise: the device is busy");
    return kTfLiteError;
  }
  return kTfLiteOk;
}

/* Where a tensor's block begins: in the partition's own memory, or in the tensor. */
static float* block(TfLiteContext* context, Partition* partition, int before, int tensor, size_t start) {
  for (int i = before - 1; i >= 0; i--)
    if (partition->steps[i].output == tensor && !partition->outside[i]) return partition->scratch[i];
  return context->tensors[tensor].data.f + start;
}

static void run(int code, const float* a, const float* b, float* out, size_t count, float wrong) {
  switch (code) {
    case kTfLiteBuiltinAdd: for (size_t i = 0; i < count; i++) out[i] = a[i] + b[i] + wrong; break;
    case kTfLiteBuiltinMul: for (size_t i = 0; i < count; i++) out[i] = a[i] * b[i] + wrong; break;
    case kTfLiteBuiltinMaximum: for (size_t i = 0; i < count; i++) out[i] = (a[i] > b[i] ? a[i] : b[i]) + wrong; break;
    default: for (size_t i = 0; i < count; i++) out[i] = (a[i] > 0 ? a[i] : 0) + wrong;
  }
}

static void busy(long microseconds) {
  struct timespec start, now;
  clock_gettime(CLOCK_MONOTONIC, &start);
  do clock_gettime(CLOCK_MONOTONIC, &now);
  while ((now.tv_sec - start.tv_sec) * 1000000L + (now.tv_nsec - start.tv_nsec) / 1000 < microseconds);
}

static TfLiteStatus invoke(TfLiteContext* context, TfLiteNode* node) {
  Partition* partition = node->user_data;
  const Settings* settings = partition->settings;
  if (fails(settings, "crash_invoke")) crash();
  if (fails(settings, "invoke")) {
    context->ReportError(context, "elementwise: the device was lost");
    return kTfLiteError;
  }
  size_t largest = 0;
  for (int i = 0; i < partition->count && !settings->skip; i++) {
    partition->steps[i].size = context->tensors[partition->steps[i].output].bytes / sizeof(float);
    if (partition->steps[i].size > largest) largest = partition->steps[i].size;
  }
  for (size_t start = 0; start < largest; start += BLOCK) {
    for (int i = 0; i < partition->count; i++) {
      const Step* step = &partition->steps[i];
      if (start >= step->size) continue; /* what depends on each other has the same size, see is_taken */
      size_t count = step->size - start < BLOCK ? step->size - start : BLOCK;
      const float* left = block(context, partition, i, step->left, start);
      const float* right = step->right < 0 ? NULL : block(context, partition, i, step->right, start);
      float* output = partition->outside[i] ? context->tensors[step->output].data.f + start : partition->scratch[i];
      run(step->code, left, right, output, count, settings->wrong);
      if (step->relu) run(kTfLiteBuiltinRelu, output, NULL, output, count, 0);
    }
  }
  if (settings->slow_us > 0) busy(settings->slow_us);
  return kTfLiteOk;
}

static TfLiteStatus prepare_delegate(TfLiteContext* context, TfLiteDelegate* delegate) {
  TfLiteIntArray* plan;
  if (context->GetExecutionPlan(context, &plan) != kTfLiteOk) return kTfLiteError;
  TfLiteIntArray* taken = malloc(sizeof *taken + (size_t)plan->size * sizeof(int));
  taken->size = 0;
  for (int i = 0; i < plan->size && taken->size < MAX_OPS; i++)
    if (is_taken(context, delegate->data_, plan->data[i])) taken->data[taken->size++] = plan->data[i];
  TfLiteRegistration registration = {init, release, prepare, invoke, NULL, kTfLiteBuiltinDelegate,
                                     "ElementwiseDelegate", 1, NULL, NULL, 0};
  TfLiteStatus status =
      context->ReplaceNodeSubsetsWithDelegateKernels(context, registration, taken, delegate);
  free(taken);
  return status;
}

static bool read_option(Settings* settings, const char* key, const char* value) {
  if (strcmp(key, "ops") == 0) return snprintf(settings->ops, sizeof settings->ops, "%s", value) >= 0;
  if (strcmp(key, "fail") == 0) return snprintf(settings->fail, sizeof settings->fail, "%s", value) >= 0;
  if (strcmp(key, "wrong") == 0) return settings->wrong = strtof(value, NULL), true;
  if (strcmp(key, "skip") == 0) return settings->skip = atoi(value) != 0, true;
  if (strcmp(key, "slow_us") == 0) return settings->slow_us = atol(value), true;
  return false;
}

TfLiteDelegate* tflite_plugin_create_delegate(char** keys, char** values, size_t count, void (*report)(const char*)) {
  Settings* settings = calloc(1, sizeof *settings);
  for (int i = 0; i < (int)count; i++) /* Python passes it as int */
    if (!read_option(settings, keys[i], values[i])) {
      char text[128];
      snprintf(text, sizeof text, "elementwise: there is no option %s", keys[i]);
      report(text);
      free(settings);
      return NULL;
    }
  if (fails(settings, "load")) crash();
  crash_when_destroyed = fails(settings, "create_badly");
  if (fails(settings, "create") || crash_when_destroyed || fails(settings, "silent")) {
    if (!fails(settings, "silent")) report("elementwise: no device found");
    free(settings);
    return NULL;
  }
  TfLiteDelegate* delegate = calloc(1, sizeof *delegate);
  delegate->data_ = settings;
  delegate->Prepare = prepare_delegate;
  return delegate;
}

void tflite_plugin_destroy_delegate(TfLiteDelegate* delegate) {
  if (delegate == NULL) { /* the runtime's Python destroys what it was not given, too */
    if (crash_when_destroyed) crash();
    return;
  }
  free(delegate->data_);
  free(delegate);
}
