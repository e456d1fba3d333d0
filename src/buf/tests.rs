//! Tests of owned buffers and slices: what a read or a write through them touches.

use bytes::{Bytes, BytesMut};

use super::*;

/// Does what a read does that gets these bytes, as many as there is room for.
fn read<B: IoBufMut>(mut buf: B, bytes: &[u8]) -> (usize, B) {
    let count = bytes.len().min(buf.bytes_total());
    // SAFETY: there is room for `count` bytes, and `count` bytes have been written.
    unsafe {
        buf.stable_mut_ptr().copy_from_nonoverlapping(bytes.as_ptr(), count);
        buf.set_init(count);
    }
    (count, buf)
}

/// Checks the promises that can be seen from outside, and the content.
fn check_content<B: IoBuf>(buf: B, content: &[u8]) -> B {
    let (address, init, total) = (buf.stable_ptr(), buf.bytes_init(), buf.bytes_total());
    assert!(init <= total);
    assert_eq!(buf.as_slice(), content);
    let moved = Box::new(buf);
    assert_eq!(moved.stable_ptr(), address, "moving the value moved its bytes");
    assert_eq!((moved.bytes_init(), moved.bytes_total()), (init, total));
    *moved
}

#[test]
fn every_kind_of_buffer_shows_its_bytes_at_a_stable_address() {
    check_content(b"abc".to_vec(), b"abc");
    check_content(b"abc".to_vec().into_boxed_slice(), b"abc");
    check_content(Bytes::from(b"abc".to_vec()), b"abc");
    check_content(Bytes::from_static(b"abc"), b"abc");
    check_content(Bytes::from(b"0abc0".to_vec()).slice(1..4), b"abc");
    check_content(BytesMut::from(&b"abc"[..]), b"abc");
    check_content(&b"abc"[..], b"abc");
    check_content("abc", b"abc");
    check_content(String::from("abc"), b"abc");
    check_content(IoBuf::slice(b"0abc0".to_vec(), 1..4), b"abc");
}

#[test]
fn empty_buffers_have_room_for_nothing() {
    check_content(Vec::new(), b"");
    check_content(Vec::new().into_boxed_slice(), b"");
    check_content(Bytes::new(), b"");
    check_content(BytesMut::new(), b"");
    check_content(&b""[..], b"");
    check_content("", b"");
    check_content(String::new(), b"");
    check_content(IoBuf::slice(Vec::new(), ..), b"");

    assert_eq!(read(Vec::new(), b"abc"), (0, vec![]));
    assert_eq!(read(BytesMut::new(), b"abc").0, 0);
    assert_eq!(read(Vec::new().into_boxed_slice(), b"abc").0, 0);
    assert_eq!(read(vec![1].slice(1..1), b"abc").0, 0);
}

#[test]
fn reading_a_vector_replaces_its_content_up_to_its_capacity() {
    let mut buf = Vec::with_capacity(100);
    buf.extend_from_slice(b"what was there before");
    let capacity = buf.capacity();
    let (count, buf) = read(buf, b"new");
    assert_eq!((count, &buf[..]), (3, &b"new"[..]));
    assert_eq!(buf.capacity(), capacity);

    let (count, buf) = read(buf, &[7; 1000]);
    assert_eq!((count, buf), (capacity, vec![7; capacity]));
}

#[test]
fn a_read_of_nothing_empties_a_vector() {
    assert_eq!(read(b"abc".to_vec(), b""), (0, vec![]));
}

#[test]
fn reading_a_bytes_mut_is_like_reading_a_vector() {
    let mut buf = BytesMut::with_capacity(100);
    buf.extend_from_slice(b"what was there before");
    let (count, buf) = read(buf, b"new");
    assert_eq!((count, &buf[..]), (3, &b"new"[..]));

    // One that was split off has the room of its own part only.
    let mut whole = BytesMut::zeroed(10);
    let tail = whole.split_off(6);
    let (count, whole) = read(whole, &[1; 100]);
    assert_eq!((count, &whole[..], &tail[..]), (6, &[1; 6][..], &[0; 4][..]));
}

#[test]
fn reading_a_box_leaves_what_the_read_did_not_reach() {
    let (count, buf) = read(b"abcdef".to_vec().into_boxed_slice(), b"new");
    assert_eq!((count, &buf[..]), (3, &b"newdef"[..]));
}

#[test]
fn a_slice_without_an_end_appends_into_spare_capacity() {
    let mut buf = Vec::with_capacity(64);
    buf.extend_from_slice(b"head");
    let slice = buf.slice(4..);
    assert_eq!((slice.bytes_init(), slice.begin()), (0, 4));
    assert!(slice.bytes_total() >= 60);
    let (count, slice) = read(slice, b"tail");
    assert_eq!((count, &slice[..]), (4, &b"tail"[..]));
    assert_eq!(slice.into_inner(), b"headtail");
}

#[test]
fn a_slice_with_an_end_stops_reading_there() {
    let mut buf = Vec::with_capacity(64);
    buf.extend_from_slice(b"head");
    let (count, slice) = read(buf.slice(2..8), b"0123456789");
    assert_eq!(count, 6);
    assert_eq!(slice.into_inner(), b"he012345");
}

#[test]
fn a_slice_of_a_box_keeps_both_sides() {
    let boxed = b"0123456789".to_vec().into_boxed_slice();
    let (count, slice) = read(boxed.slice(2..5), b"abcdef");
    assert_eq!((count, &slice[..]), (3, &b"abc"[..]));
    assert_eq!(&slice.into_inner()[..], b"01abc56789");
}

#[test]
fn a_slice_up_to_spare_capacity_writes_only_what_is_initialized() {
    let mut buf = Vec::with_capacity(64);
    buf.extend_from_slice(b"head");
    let slice = buf.slice(1..10);
    assert_eq!((slice.as_slice(), slice.bytes_total()), (&b"ead"[..], 9));
}

#[test]
fn slices_of_slices_count_from_the_outer_one() {
    let digits = b"0123456789".to_vec();
    let outer = digits.slice(2..8);
    let inner = check_content(outer.slice(3..), b"567");
    let innermost = check_content(inner.slice(..=1), b"56");
    let (count, innermost) = read(innermost, b"abcdef");
    assert_eq!(count, 2, "the innermost end holds");
    let inner = innermost.into_inner();
    assert_eq!(&inner[..], b"ab");
    assert_eq!(inner.bytes_total(), 3, "and the outer end holds again");
    let (count, inner) = read(inner, b"ghijkl");
    assert_eq!(count, 3);
    assert_eq!(inner.into_inner().into_inner(), b"01234ghi");
}

#[test]
fn all_forms_of_ranges_mean_what_they_mean_for_std() {
    use std::ops::Bound::{Excluded, Included, Unbounded};
    let digits = || b"0123456789".to_vec();
    assert_eq!(&digits().slice(..)[..], b"0123456789");
    assert_eq!(&digits().slice(3..)[..], b"3456789");
    assert_eq!(&digits().slice(..3)[..], b"012");
    assert_eq!(&digits().slice(..=3)[..], b"0123");
    assert_eq!(&digits().slice(10..)[..], b"");
    assert_eq!(&digits().slice((Excluded(2), Included(4)))[..], b"34");
    assert_eq!(&digits().slice((Excluded(2), Unbounded))[..], b"3456789");
}

#[test]
fn a_slice_can_be_written_to_in_place() {
    let mut slice = b"0123".to_vec().slice(1..3);
    slice.reverse();
    assert_eq!(slice.into_inner(), b"0213");
}

#[test]
fn reading_piece_by_piece_fills_the_whole_buffer() {
    // This is `read_exact`.
    let mut buf = Vec::with_capacity(10);
    let (total, mut filled) = (buf.capacity(), 0);
    while filled < total {
        let (count, slice) = read(buf.slice(filled..), &[filled as u8; 3]);
        filled += count;
        buf = slice.into_inner();
        assert_eq!(buf.len(), filled);
    }
    assert_eq!(&buf[..10], [0, 0, 0, 3, 3, 3, 6, 6, 6, 9]);
}

#[test]
#[should_panic(expected = "a slice from 4 on of a buffer with 3 bytes in it")]
fn a_slice_cannot_begin_in_spare_capacity() {
    let mut buf = Vec::with_capacity(64);
    buf.extend_from_slice(b"abc");
    let _ = buf.slice(4..);
}

#[test]
#[should_panic(expected = "a slice up to 4 of a buffer with room for 3 bytes")]
fn a_slice_cannot_end_behind_the_buffer() {
    let _ = "abc".slice(..4);
}

#[test]
#[should_panic(expected = "a slice up to 4 of a buffer with room for 3 bytes")]
fn a_slice_of_a_slice_cannot_end_behind_the_outer_one() {
    let _ = b"0123456789".to_vec().slice(2..5).slice(..4);
}

#[test]
#[should_panic(expected = "a slice from 2 to 1")]
fn a_slice_cannot_end_before_it_begins() {
    let (begin, end) = (2, 1);
    let _ = "abc".slice(begin..end);
}

#[test]
#[should_panic(expected = "the range ends too far on")]
fn a_slice_cannot_end_behind_the_last_number() {
    let _ = "abc".slice(..=usize::MAX);
}
