//! Plain tables for a terminal: columns as wide as their longest entry, two spaces between them.

/// Lays out `rows` under `heads`; every row has as many entries as there are heads.
pub(crate) fn table<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let entries = rows.iter().map(|row| row[column].chars().count());
        entries.chain([heads[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..N).map(width).collect();
    let line = |entries: &[String; N]| {
        let padded = entries.iter().zip(&widths).map(|(entry, &width)| format!("{entry:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_string() + "\n"
    };
    let mut text = line(&heads.map(str::to_uppercase));
    rows.iter().for_each(|row| text += &line(row));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_entry() {
        let rows = [["a".into(), "longer".into()], ["bcd".into(), "é".into()]];
        assert_eq!(table(["x", "name"], &rows), "X    NAME\na    longer\nbcd  é\n");
    }
}
