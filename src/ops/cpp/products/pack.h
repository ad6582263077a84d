// Weights put into the order in which the products' tiles read them, and their gradients put back.
//
// It goes by squares of kLanes columns and as many steps of kDepth values of the summed dimension. A source fills one:
// ByRows loads kLanes neighbouring columns at one k, ByColumns loads kLanes neighbouring k of one column and transposes
// in registers. by_values is ByRows for weights that lie anywhere, number by number.
#pragma once

#include "base/number.h"
#include "base/parallel.h"

namespace densenet {

// load(tap, k, column): value k of kLanes columns.
template <class Load>
struct ByRows {
  // out: `steps` steps, out_step values apart, zero from `depth` on.
  template <class Number>
  void square(int tap, int k, int column, int depth, int steps, typename Number::Value* out, long out_step) const {
    const auto row = [&](int at) { return at < depth ? load(tap, at, column) : Vec{}; };
    for (int step = 0; step < steps; step++, k += Number::kDepth, out += out_step) {
      Number::interleave(out, row(k), Number::kDepth > 1 ? row(k + 1) : Vec{});
    }
  }
  Load load;
};
template <class Load>
ByRows(Load) -> ByRows<Load>;

// load(tap, column, k): values k .. k + kLanes - 1 of a column, zero from `depth` on.
template <class Load>
struct ByColumns {
  template <class Number>
  void square(int tap, int k, int column, int, int steps, typename Number::Value* out, long out_step) const {
    Vec rows[kLanes];
    for (int i = 0; i < kLanes; i++) {
      const Vec more = Number::kDepth > 1 ? load(tap, column + i, k + kLanes) : Vec{};
      rows[i] = Number::side_by_side(load(tap, column + i, k), more);
    }
    transpose_square(rows);
    for (int step = 0; step < steps; step++) std::memcpy(out + step * out_step, &rows[step], sizeof rows[step]);
  }
  Load load;
};
template <class Load>
ByColumns(Load) -> ByColumns<Load>;

// value(tap, k, column): one of them, wherever it is.
template <class Value>
auto by_values(const Value& value) {
  return ByRows{[value](int tap, int k, int column) {
    Vec row{};
    for (int lane = 0; lane < kLanes; lane++) row[lane] = value(tap, k, column + lane);
    return row;
  }};
}

// Of the weights (K, C) of a 1x1 convolution: kLanes inputs from c on of output k, zero where there are none.
inline auto weights_1x1(const float* weights, int in_channels, int out_channels) {
  return [=](int, int k, int c) {
    const float* row = weights + static_cast<long>(k) * in_channels + c;
    __builtin_prefetch(row + 64, 0, 2);  // four lines ahead: rows lie apart, and the weights are in no cache
    return k < out_channels ? load_first(row, in_channels - c) : Vec{};
  };
}

// to (columns, rows) = the transpose of from (rows, columns), whose rows lie `from_row` floats apart and are padded to
// whole vectors; by `threads` threads.
inline void transpose_weights(const float* from, long from_row, int rows, int columns, int threads, float* to) {
  parallel(threads, Parts((rows + kLanes - 1) / kLanes), [&](const Part& mine) {
    for (long row = mine.begin * kLanes; row < std::min<long>(mine.end * kLanes, rows); row += kLanes) {
      for (int column = 0; column < columns; column += kLanes) {
        Vec square[kLanes] = {};
        for (int i = 0; i < std::min<long>(kLanes, rows - row); i++) {
          square[i] = load(from + (row + i) * from_row + column);
        }
        transpose_square(square);
        for (int i = 0; i < std::min(kLanes, columns - column); i++) {
          store_first(to + static_cast<long>(column + i) * rows + row, square[i], static_cast<int>(rows - row));
        }
      }
    }
  });
}

}  // namespace densenet
