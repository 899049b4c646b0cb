//! The record of a block: golden bytes, round trip, and the arithmetic of pieces against a plain array.

use super::*;
use ballast_store::pointer::Place;
use proptest::prelude::*;

fn pointer(number: u64, length: u32) -> Pointer {
    Pointer { place: Place::Log { epoch: 1, number }, offset: number * 1000, length, crc: 7 }
}

#[test]
fn the_bytes_of_a_row_never_change() {
    let mut block = Block::default();
    block.put(Piece { start: 0, length: 4096, pointer: pointer(1, 8192), offset: 4096 });
    block.put(Piece { start: 8192, length: 100, pointer: pointer(2, 100), offset: 0 });
    let (bytes, pointers) = block.encode(Some(&pointer(2, 100)));
    let golden: &[u8] = &[
        1, 2, // version, pieces
        0, 0, 0, 0, 0, 16, 0, 0, 0, 16, 0, 0, 1, // the first piece, in the second payload
        0, 32, 0, 0, 100, 0, 0, 0, 0, 0, 0, 0, 0, // the second piece, in the fresh payload
    ];
    assert_eq!(bytes.as_ref(), golden);
    assert_eq!(pointers.as_slice(), [pointer(2, 100), pointer(1, 8192)]);
    assert_eq!(Block::decode(&Value { bytes, pointers }).expect("it was just encoded"), block);
}

#[test]
fn damaged_rows_are_corrupt_and_never_panic() {
    let mut block = Block::default();
    block.put(Piece { start: 8, length: 8, pointer: pointer(1, 8), offset: 0 });
    let (bytes, pointers) = block.encode(None);
    for length in 0..bytes.len() {
        let value = Value { bytes: bytes.slice(..length), pointers: pointers.clone() };
        assert!(matches!(Block::decode(&value), Err(Error::Corrupt(_))), "cut at {length}");
    }
    let value = Value { bytes, pointers: SmallVec::new() };
    assert!(matches!(Block::decode(&value), Err(Error::Corrupt(_))));
}

#[test]
fn the_number_of_a_block_is_found_in_its_key() {
    let key = Block::key(Ino(7), 0x0102);
    assert_eq!(Block::number_of(&key).expect("it is a key"), 0x0102);
    assert!(Block::number_of(&key[..10]).is_err());
}

proptest! {
    /// Puts and clears on a block of 64 units, compared with an array that remembers (payload, offset) per unit.
    #[test]
    fn pieces_behave_like_an_array(steps in prop::collection::vec((any::<bool>(), 0u32..64, 1u32..32), 1..20)) {
        let mut block = Block::default();
        let mut model = [None; 96];
        for (index, (put, start, length)) in steps.into_iter().enumerate() {
            let number = index as u64;
            if put {
                block.put(Piece { start, length, pointer: pointer(number, 1000), offset: 10 });
            } else {
                block.clear(start..start + length);
            }
            for at in start..start + length {
                model[at as usize] = put.then_some((number, 10 + at - start));
            }
        }
        let mut seen = [None; 96];
        for piece in block.pieces() {
            for at in 0..piece.length {
                let Place::Log { number, .. } = piece.pointer.place else { unreachable!("the test uses log places") };
                let slot = &mut seen[(piece.start + at) as usize];
                prop_assert!(slot.is_none(), "pieces overlap");
                *slot = Some((number, piece.offset + at));
            }
        }
        prop_assert_eq!(seen.to_vec(), model.to_vec());
        if block.pieces().len() <= PIECES_MAX {
            let (bytes, pointers) = block.encode(None);
            prop_assert_eq!(Block::decode(&Value { bytes, pointers }).expect("it was just encoded"), block);
        }
    }

    #[test]
    fn no_bytes_make_decoding_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), pointers in 0u64..4) {
        let pointers = (0..pointers).map(|number| pointer(number, 500)).collect();
        let _ = Block::decode(&Value { bytes: Bytes::from(bytes), pointers });
    }
}
