//! `docker image history`.

use image_core::Platform;

use crate::error::ImagesError;
use crate::resolve::{Found, tags};
use crate::service::Images;

/// One line, the newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryLine {
    /// The image's id on the first line, those of the images that it was committed on below, then `<missing>`.
    pub id: String,
    /// Seconds since 1970.
    pub created: i64,
    pub created_by: String,
    pub names: Vec<String>,
    /// Unpacked bytes of the line's layer.
    pub size: u64,
    pub comment: String,
}

impl Images {
    /// Of the manifest of this platform, if one is named.
    pub async fn history(&self, name: &str, platform: Option<&Platform>) -> Result<Vec<HistoryLine>, ImagesError> {
        let found = match platform {
            Some(platform) => self.find_platform(name, platform).await?,
            None => self.find(name).await?,
        };
        let image = &found.image;
        let mut lines = Vec::new();
        for (line, layer) in image.config.history_with_layers() {
            let size = match layer {
                Some(at) => self.layer_bytes(&image.chain[at]).await?,
                None => 0,
            };
            let created = line.created.as_deref().and_then(|text| text.parse::<jiff::Timestamp>().ok());
            lines.push(HistoryLine {
                id: "<missing>".to_owned(),
                created: created.map_or(0, jiff::Timestamp::as_second),
                created_by: line.created_by.clone(),
                names: Vec::new(),
                size,
                comment: line.comment.clone(),
            });
        }
        lines.reverse();
        self.name_lines(found, &mut lines).await?;
        Ok(lines)
    }

    /// The image has the newest line; what it was committed on has the next, for as long as it is here.
    async fn name_lines(&self, found: Found, lines: &mut [HistoryLine]) -> Result<(), ImagesError> {
        let mut ancestor = Some(found);
        for line in lines {
            let Some(found) = ancestor else { break };
            line.id = found.image.id.to_string();
            line.names = tags(&found.records);
            ancestor = match found.parent() {
                "" => None,
                parent => match self.find(parent).await {
                    Err(ImagesError::NoSuchImage(_)) => None,
                    parent => Some(parent?),
                },
            };
        }
        Ok(())
    }
}
