//! `ListObjectsV2`: keys in order, in pages, with a prefix. Delimiters and the older protocol are left out.

use super::{
    fault::{Fault, element},
    objects::Objects,
};
use crate::demo::{clock, web};

/// Keys per page at most, and when the caller does not say.
const PAGE_MAX: usize = 1000;

/// The document for a page of a bucket.
pub(super) fn list(objects: &Objects, bucket: &str, query: &str) -> Result<String, Fault> {
    let query = web::entries(query.as_bytes());
    let field = |name| web::entry(&query, name).unwrap_or_default();
    if field("list-type") != "2" {
        return Err(Fault::InvalidArgument("only list-type=2 is answered here"));
    }
    let max = match field("max-keys") {
        "" => PAGE_MAX,
        text => text.parse().map_err(|_| Fault::InvalidArgument("max-keys is not a number"))?,
    };
    let (prefix, token) = (field("prefix"), field("continuation-token"));
    let page = objects.page(bucket, prefix, token, max.min(PAGE_MAX))?;
    let mut document = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">",
    );
    document.push_str(&element("Name", bucket));
    document.push_str(&element("Prefix", prefix));
    document.push_str(&element("KeyCount", &page.objects.len().to_string()));
    document.push_str(&element("MaxKeys", &max.min(PAGE_MAX).to_string()));
    document.push_str(&element("IsTruncated", if page.truncated { "true" } else { "false" }));
    if page.truncated
        && let Some((last, _)) = page.objects.last()
    {
        // Real tokens are opaque; the last key is all that one needs to hold.
        document.push_str(&element("NextContinuationToken", last));
    }
    for (key, object) in &page.objects {
        document.push_str("<Contents>");
        document.push_str(&element("Key", key));
        document.push_str(&element("LastModified", &clock::format_extended(object.modified)));
        document.push_str(&element("ETag", &object.etag));
        document.push_str(&element("Size", &object.chunks.len().to_string()));
        document.push_str(&element("StorageClass", "STANDARD"));
        document.push_str("</Contents>");
    }
    document.push_str("</ListBucketResult>");
    Ok(document)
}
