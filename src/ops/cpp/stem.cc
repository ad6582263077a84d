#include "stem.h"

#include "amx_stem_conv.h"
#include "operands.h"
#include "parallel.h"
#include "stem_conv.h"

namespace densenet {
namespace {

// convolved = conv(images); its moments are added to those of each thread unless they are null.
template <class Number>
void convolve(const Stem& stem, int threads, const float* images, float* convolved, std::vector<Moments>* moments) {
  const int width = stem.conv_extent().width, columns = padded(stem.channels);
  const long stride = pixel_stride(stem.channels);
  StemConv<Number>(stem, threads).forward(images, [&](int thread, long first, const float* products) {
    if (moments) (*moments)[thread].add(products, columns, width, 0, columns);
    for (int x = 0; x < width; x++) stream_floats(products + x * columns, columns, convolved + (first + x) * stride);
  });
}

constexpr int kWindow = 3;  // lines and columns of a window of the pool

// The part of a window that lies inside the map; without a pool it is one pixel.
struct Window {
  Window(const Stem& stem, int y, int x)
      : first_line(std::max(stem.step() * y - stem.pool_top, 0)),
        end_line(std::min(2 * y - stem.pool_top + kWindow, stem.conv_extent().height)),
        first_column(std::max(2 * x - stem.pool_left, 0)),
        end_column(std::min(2 * x - stem.pool_left + kWindow, stem.conv_extent().width)) {}
  // Calls visit(line, column).
  template <class Visit>
  void for_each(const Visit& visit) const {
    for (long line = first_line; line < end_line; line++) {
      for (long column = first_column; column < end_column; column++) visit(line, column);
    }
  }
  int first_line, end_line, first_column, end_column;
};

// y = pool(relu(affine(convolved))), pooled if the stem does that.
void activate(const Stem& stem, int threads, const float* convolved, const Affine& affine, float* y,
              std::vector<Moments>* moments) {
  const int columns = padded(stem.channels);
  const long stride = pixel_stride(stem.channels);
  const Extent in = stem.conv_extent(), out = stem.out_extent();
  parallel(threads, [&](int thread) {
    const Range lines = share(static_cast<long>(out.batch) * out.height, thread, threads);
    for (long line = lines.begin; line < lines.end; line++) {
      float* to = y + line * out.width * stride;
      if (stem.pool) {
        const float* image = convolved + line / out.height * in.height * in.width * stride;
        for (int x = 0; x < out.width; x++) {
          const Window window(stem, static_cast<int>(line % out.height), x);
          for (int c = 0; c < columns; c += kLanes) {
            const Vec scale = load(affine.scale.get() + c), offset = load(affine.offset.get() + c);
            Vec largest{};  // of values behind a ReLU
            window.for_each([&](long line_in, long column) {
              const Vec value = relu(load(image + (line_in * in.width + column) * stride + c) * scale + offset);
              largest = (value <= largest) | (largest != largest) ? largest : value;  // NaN stays NaN
            });
            store(to + x * stride + c, largest);
          }
        }
      } else {
        const auto pixels = normalised_pixels(convolved + line * in.width * stride, stride, affine);
        for (int x = 0; x < in.width; x++) {
          for (int c = 0; c < columns; c += kLanes) store(to + x * stride + c, pixels(x)(c));
        }
      }
      if (moments) (*moments)[thread].add(to, stride, out.width, 0, columns);
    }
  });
}

// d_relu = gradient of relu's input at affine(convolved), and its sums of each thread; d_y has been corrected with
// `correction` of y. With a pool, the first of a window's largest values gets its gradient: a line is complete when the
// windows of the next two lines have been visited, so three lines at a time are in the making.
void backward_activation(const Stem& stem, int threads, const float* convolved, const Affine& affine,
                         const float* mean, const float* y, const float* d_y, const Correction& correction,
                         float* d_relu, std::vector<NormSums>& sums) {
  const int columns = padded(stem.channels);
  const long stride = pixel_stride(stem.channels);
  const Extent in = stem.conv_extent(), out = stem.out_extent();
  const long in_line = in.width * stride, out_line = out.width * stride;
  const long line_floats = static_cast<long>(in.width) * columns;
  const std::vector<Buffer<>> rings = buffers(threads, kWindow * line_floats);
  parallel(threads, [&](int thread) {
    float* ring = rings[thread].get();
    const auto made = [&](long line) { return ring + line % kWindow * line_floats; };
    const auto spread = [&](const float* x, int line, int column, int c, Vec value, Vec d) {
      const Vec scale = load(affine.scale.get() + c), offset = load(affine.offset.get() + c);
      Window(stem, line, column).for_each([&](long source_line, long source_column) {
        float* target = made(source_line) + source_column * columns + c;
        const auto is_largest = load(x + source_line * in_line + source_column * stride + c) * scale + offset >= value;
        store(target, load(target) + (is_largest ? d : Vec{}));
        d = is_largest ? Vec{} : d;
      });
    };
    const auto finish_line = [&](const float* x, float* d_made, float* d_out) {
      for (int c = 0; c < columns; c += kLanes) {
        const Vec m = load_first(mean + c, stem.channels - c);
        Vec sum{}, centred{};
        for (long column = 0; column < in.width; column++) {
          const Vec d = load(d_made + column * columns + c);
          sum += d;
          centred += d * (load(x + column * stride + c) - m);
          stream(d_out + column * stride + c, d);
          store(d_made + column * columns + c, Vec{});
        }
        sums[thread].add(c, sum, centred);
      }
    };
    std::fill_n(ring, kWindow * line_floats, 0.0f);
    const Range images = share(in.batch, thread, threads);
    for (long image = images.begin; image < images.end; image++) {
      const float* x = convolved + image * in.height * in_line;
      float* d_x = d_relu + image * in.height * in_line;
      for (int line = 0, finished = 0; line < out.height; line++) {
        for (int column = 0; column < out.width; column++) {
          const long pixel = (image * out.height + line) * out_line + column * stride;
          for (int c = 0; c < columns; c += kLanes) {
            const Vec value = load(y + pixel + c);
            const Vec d = where_positive(value, load(d_y + pixel + c) + load(correction.constant.get() + c) +
                                                    load(correction.slope.get() + c) * value);
            if (stem.pool) {
              spread(x, line, column, c, value, d);
            } else {
              store(made(line) + column * columns + c, d);
            }
          }
        }
        const int complete = line + 1 == out.height ? in.height : Window(stem, line + 1, 0).first_line;
        for (; finished < complete; finished++) {
          finish_line(x + finished * in_line, made(finished), d_x + finished * in_line);
        }
      }
    }
  });
}

}  // namespace

template <class Number>
void train_forward(const Stem& stem, const float* images, float* convolved, float* conv_stats, float* y,
                   float* y_stats) {
  const int threads = thread_count(), channels = stem.channels;
  const long pixels = stem.conv_extent().pixels();
  float *mean = conv_stats, *variance = conv_stats + channels;
  std::vector<Moments> moments(threads, Moments(padded(channels))), y_moments = moments;
  convolve<Number>(stem, threads, images, convolved, &moments);
  total(moments).finish(pixels, 0, channels, mean, variance);
  follow(stem.norm, pixels, channels, mean, variance);
  Affine affine(channels);
  affine.set(stem.norm, mean, variance, channels);
  activate(stem, threads, convolved, affine, y, &y_moments);
  total(y_moments).finish(stem.out_extent().pixels(), 0, channels, y_stats, y_stats + channels);
}

template <class Number>
void infer(const Stem& stem, const float* images, float* convolved, float* y) {
  const int threads = thread_count();
  convolve<Number>(stem, threads, images, convolved, nullptr);
  Affine affine(stem.channels);
  affine.set(stem.norm, stem.norm.mean, stem.norm.variance, stem.channels);
  activate(stem, threads, convolved, affine, y, nullptr);
}

template <class Number>
void backward(const Stem& stem, const float* images, const float* convolved, const float* conv_stats, const float* y,
              const float* y_stats, const float* d_y, const float* d_y_stats, float* scratch, float* d_conv,
              float* d_gamma, float* d_beta) {
  const int threads = thread_count(), channels = stem.channels;
  const long stride = pixel_stride(channels);
  const float *mean = conv_stats, *variance = conv_stats + channels;
  Affine affine(channels);
  affine.set(stem.norm, mean, variance, channels);
  Correction correction(channels);
  correction.set(MomentGradients(d_y_stats, channels), y_stats, stem.out_extent().pixels(), 0, channels);
  std::vector<NormSums> sums(threads, NormSums(padded(channels)));
  backward_activation(stem, threads, convolved, affine, mean, y, d_y, correction, scratch, sums);
  MomentGradients d_moments(channels);
  finish(total(sums), stem.norm, variance, channels, d_gamma, d_beta, d_moments);

  correction.set(d_moments, mean, stem.conv_extent().pixels(), 0, channels);
  const auto d_convolved = [&](long pixel) {
    return [&, at = pixel * stride](int c) {
      fetch_ahead(scratch + at + c, stride);
      fetch_ahead(convolved + at + c, stride);
      return load(affine.scale.get() + c) * load(scratch + at + c) +
             (load(correction.slope.get() + c) * load(convolved + at + c) + load(correction.constant.get() + c));
    };
  };
  StemConv<Number>(stem, threads).backward(images, d_convolved, d_conv);
}

#define DENSENET_INSTANTIATE(Number)                                                                                \
  template void train_forward<Number>(const Stem&, const float*, float*, float*, float*, float*);                   \
  template void infer<Number>(const Stem&, const float*, float*, float*);                                           \
  template void backward<Number>(const Stem&, const float*, const float*, const float*, const float*, const float*, \
                                 const float*, const float*, float*, float*, float*, float*);

DENSENET_INSTANTIATE(Fp32)
#ifdef __AVX512BF16__
DENSENET_INSTANTIATE(Bf16)
#endif

}  // namespace densenet
